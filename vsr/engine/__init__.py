"""How frames go through a network."""
