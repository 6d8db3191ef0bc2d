"""What files say of their streams: which languages and tags a container has a place for."""
