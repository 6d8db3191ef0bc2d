"""A video's own samples to RGB and back: matrices, ranges, chroma siting (ITU-T H.273)."""

from vsr.media.color.convert import batch_to_rgb, from_rgb, to_rgb

__all__ = ["batch_to_rgb", "from_rgb", "to_rgb"]
