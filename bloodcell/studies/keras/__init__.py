"""The paper's recipe in Keras, whose words it speaks: does it train there, and what does it reach."""
