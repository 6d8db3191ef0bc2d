"""Standard output as the place of a result."""
