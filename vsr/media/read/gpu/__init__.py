"""Readers that decode on a GPU."""
