"""Results of a queue: which files are its own, and what it leaves until they are complete."""
