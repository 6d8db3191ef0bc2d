"""Video super-resolution with FDIWN: the same video, larger and sharper, nothing else changed."""

__version__ = "0.1.0"
