"""Frames for looking at: pairs of several files, upright pictures, strips."""
