"""For networks that look at a whole frame: the statistics they take of it, and tiles of it."""
