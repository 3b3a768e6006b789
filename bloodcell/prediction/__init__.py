"""A trained net and new pictures become cells with a class, a probability and a doubt."""
