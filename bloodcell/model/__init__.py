"""The nets and the LightningModule that trains them."""
