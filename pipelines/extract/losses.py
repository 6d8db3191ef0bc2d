"""What a clip or a picture cannot hold of its frames, a sentence for each thing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vsr.types import Color, VideoStreamInfo

__all__ = ["clip_losses", "picture_losses"]


def clip_losses(video: VideoStreamInfo, clip: VideoStreamInfo, container: str) -> list[str]:
    """What an FFV1 clip lacks.

    Args:
        video: the source's stream. ``clip``: the clip's, as reading it back shows it.
        container: row of the container table.
    """
    return [*_static_losses(video, clip, container), *_dynamic_losses(video)]


def picture_losses(video: VideoStreamInfo) -> list[str]:
    """What PNG files of the stream's frames lack."""
    lost = [
        "Timestamps: PNG files have none; the manifest holds them.",
        "Samples: PNG files hold RGB; the manifest's frame hashes are those of the source's own "
        f"{video.format.name}.",
    ]
    if video.display_matrix is not None:
        lost.append("Turning and mirroring on display: the pictures lie as they are coded.")
    if any(video.crop):
        lost.append("Cropping that the container asks for: the borders are in the pictures.")
    if video.hdr is not None:
        lost.append("HDR10 metadata (mastering display, light levels): the manifest holds it.")
    return [*lost, *_dynamic_losses(video)]


def _static_losses(video: VideoStreamInfo, clip: VideoStreamInfo, container: str) -> Iterator[str]:
    """What the container or FFV1 did not keep, as reading it back shows."""
    for label, field in (
        ("Pixel aspect ratio", "sar"),
        ("Display matrix", "display_matrix"),
        ("Borders that players hide", "crop"),
        ("HDR10 metadata (mastering display, light levels)", "hdr"),
    ):
        have, want = getattr(clip, field), getattr(video, field)
        if have != want and not (field == "hdr" and _close(have, want)):
            other = "; .mp4 keeps it" if field != "hdr" and container == "mkv" else ""
            yield f"{label}: {want} became {have} in .{container}{other}."
    for tag in ("matrix", "primaries", "transfer", "range", "site"):
        have, want = getattr(clip.color, tag), getattr(video.color, tag)
        if have != want and want != getattr(Color(), tag):
            yield f"Colour tag {tag}: {want.name} became {have.name} in .{container}."
    if container == "mkv" and (video.time_base / Fraction(1, 1000)).denominator != 1:
        yield (
            "Timestamps: Matroska rounds them to a millisecond; the manifest has the exact ticks, "
            "and .mp4 keeps them."
        )


def _close(have: object, want: object) -> bool:
    """Whether metadata that Matroska stores as floating point is the same to six digits."""
    return have is not None and want is not None and _digits(have) == _digits(want)


def _digits(value: object) -> object:
    if isinstance(value, Fraction):
        return f"{float(value):.6g}"
    if isinstance(value, tuple):
        return [_digits(item) for item in value]
    slots = getattr(value, "__slots__", None)
    return value if slots is None else [_digits(getattr(value, name)) for name in slots]


def _dynamic_losses(video: VideoStreamInfo) -> Iterator[str]:
    if video.interlaced:
        order = "top" if video.top_field_first else "bottom"
        yield (
            f"Interlacing flag: both fields of each frame are there as coded, but the result does "
            f"not say so ({order} field first)."
        )
    if video.dolby_vision:
        yield "Dolby Vision metadata: the base layer stays."
    if video.dynamic_hdr:
        yield "HDR10+ metadata (per scene): FFV1 and PNG have no place for it."
