"""Whole jobs, assembled from the parts in ``vsr``."""
