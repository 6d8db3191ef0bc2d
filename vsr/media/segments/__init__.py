"""Segments on the disk: encoded alone, joined without encoding them again."""
