"""What a container cannot say of a stream: its language, and tags that it has no place for."""

from __future__ import annotations

from collections.abc import Iterator

from vsr.plan.tags.languages import language_for
from vsr.types import ContainerSpec, StreamInfo

__all__ = ["lost_tags"]

# What has a place of its own: in tags, or beside them (the display matrix, 3D in the pictures).
_ELSEWHERE = {"language", "title", "name", "timecode", "rotate", "stereo_mode"}
# What programs say of the old file and its samples, in upper case: nobody misses that.
_OF_THE_FILE = (
    *("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_", "ENCODER", "ENCODING_TOOL", "VENDOR_ID"),
    *("HANDLER_NAME", "CREATION_TIME", "ALPHA_MODE", "VARIANT_BITRATE"),
    *("FILE_PACKAGE_", "REEL_UMID"),  # MXF
)


def lost_tags(stream: StreamInfo, container: ContainerSpec) -> Iterator[str]:
    """The beginning of a sentence for what of ``stream``'s tags does not go into ``container``."""
    box, names = f".{container.name}", []
    for key, value in stream.metadata:
        if key.lower() == "language":
            language = language_for(value, container.languages)
            if not language.whole:
                said = "" if language.code is None else f"; it becomes {language.code.strip()}"
                yield f"{box} has no language {value.strip()}{said}"
        elif key.lower() not in _ELSEWHERE and not key.upper().startswith(_OF_THE_FILE):
            names.append(key)
    if names and not container.stream_tags:
        tags = "tag" if len(names) == 1 else "tags"
        yield f"{box} has no place for a stream's {tags} {', '.join(names)}"
