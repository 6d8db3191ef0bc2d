"""Which speakers sound is encoded for, where an encoder or a container does not take the source's.

Names of layouts are FFmpeg's. What each takes was found by encoding, writing and reading back.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsr.types import PCM_PLACES, ContainerSpec, StreamInfo, has_places

__all__ = ["Arrangement", "arrange", "unplaced"]

# For so many channels that nobody has named: av_channel_layout_default of FFmpeg, which is what its
# resampler takes them for. Any other would be mixed into; copied PCM has PCM_PLACES instead.
_USUAL = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
# The same speakers, or the same sound, under a name that encoders know.
_SAME = {
    "5.1(side)": "5.1",
    "5.0(side)": "5.0",
    "quad(side)": "quad",
    "downmix": "stereo",
    "binaural": "stereo",
}
_TAKES = {
    # It codes many more, of which readers learn how many channels there are and not which.
    "aac": {"mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "5.0", "5.1", "7.1"},
    # It opens for 5.0 and 6.1 as well, and exchanges their channels: FFmpeg's table of orders is
    # applied the wrong way round, which shows where it is not its own inverse.
    "libopus": {"mono", "stereo", "3.0", "quad", "5.1", "7.1", "3 channels", "4 channels"},
}
# Layouts that have a place for each of another's speakers, and silence in the others.
_WIDER = {
    "aac": {"3.1": "5.1", "7.0": "7.1"},
    "libopus": {"2.1": "5.1", "3.1": "5.1", "5.0": "5.1", "7.0": "7.1"},
}
# What others are mixed into, by the channels that they have at least.
_MIXED = ((7, "7.1"), (5, "5.1"), (4, "quad"), (2, "stereo"), (1, "mono"))


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A layout to encode for.

    Attributes:
        layout: FFmpeg's name; empty for the source's own.
        mixed: what the source's was, if channels are mixed to fit.
    """

    layout: str = ""
    mixed: str = ""


def arrange(encoder: str, stream: StreamInfo) -> Arrangement | None:
    """The layout for which ``encoder`` encodes a stream; ``None``: there is none."""
    layout, channels = stream.layout or "", stream.channels or 0
    takes = _TAKES.get(encoder)
    if not layout or not channels:
        return Arrangement()  # the decoder will know
    if takes is None:
        return Arrangement() if channels <= len(_USUAL) else None  # FLAC: any eight
    if layout in takes:
        return Arrangement()
    known = _SAME.get(layout, layout)
    if layout.endswith(" channels"):
        known = _USUAL[channels - 1] if channels <= len(_USUAL) else layout
    known = _WIDER.get(encoder, {}).get(known, known)
    if known in takes:
        return Arrangement(known)
    if not has_places(known):
        return None
    return Arrangement(next(name for least, name in _MIXED if channels >= least), mixed=layout)


def unplaced(stream: StreamInfo, container: ContainerSpec) -> bool:
    """Whether the container must know each channel's place, and nobody can tell them."""
    return (
        container.placed_pcm
        and stream.codec.startswith("pcm_")
        and stream.layout is not None
        and not has_places(stream.layout)
        and (stream.layout.startswith("ambisonic") or stream.channels not in PCM_PLACES)
    )
