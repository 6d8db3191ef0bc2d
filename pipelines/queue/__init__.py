"""Many files, one after the other or some at a time: what is to be done and what became of it."""
