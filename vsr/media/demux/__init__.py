"""Packets of a file, before anything decodes them."""
