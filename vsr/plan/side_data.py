"""What frames carry besides pixels, and which of it is worth a word when it is left behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["lost_side_data"]

# Carried over, or spoken of with HDR: see vsr.plan.encode and the display matrix.
_HANDLED = {
    *("displaymatrix", "mastering_display_metadata", "content_light_level"),
    *("dovi_metadata", "dovi_rpu_buffer", "dynamic_hdr_plus", "dynamic_hdr_vivid"),
}
# By-products of coding, which nobody misses and most files have:
_BY_PRODUCTS = {
    # what encoders write about themselves (x264's settings); it would be wrong about the result
    "sei_unregistered",
    # how the source's pictures were coded, or what a program found in them, for its encoder
    *("motion_vectors", "video_enc_params", "video_hint", "regions_of_interest"),
    "detection_bboxes",
    # fields that MPEG-2 has in every stream: FFmpeg attaches the window to every frame, and the
    # GOP's timecode mostly counts from zero (a real one is a tag of the stream, or S12M)
    *("panscan", "gop_timecode"),
}
_NAMES = {
    "a53_cc": "closed captions (CEA-608/708, within the pictures)",
    "afd": "active format description (AFD)",
    "ambient_viewing_environment": "ambient viewing environment",
    "exif": "EXIF tags",
    "film_grain_params": "film grain parameters",
    "icc_profile": "ICC colour profile",
    "lcevc": "LCEVC enhancement layer",
    "reference_displays": "3D reference displays",
    "s12m_timecode": "timecodes of single frames (SMPTE ST 12-1)",
    "spherical": "spherical projection",
    "stereo3d": "stereoscopic 3D arrangement",
    "view_id": "view numbers (MV-HEVC, of whose views the first is decoded)",
}


def lost_side_data(kinds: Iterable[str]) -> Iterator[str]:
    """A sentence for each type of frame side data that the result will lack.

    A type that is not known here is named as well: what it is worth, nobody has decided.

    Args:
        kinds: names of FFmpeg's types as PyAV has them, in lower case.
    """
    for kind in sorted(set(kinds) - _HANDLED - _BY_PRODUCTS):
        name = _NAMES.get(kind, f"{kind.replace('_', ' ')} metadata")
        yield f"{name}: the source's frames carry this, and the result's do not."
