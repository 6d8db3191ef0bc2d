"""What a file is, and the way of frames into and out of it."""
