"""Exactly some frames of a video, losslessly, and proof that it is those."""

from pipelines.extract.frames import ExtractReport, extract, list_scenes

__all__ = ["ExtractReport", "extract", "list_scenes"]
