"""A job in segments on several machines: a Ray cluster."""
