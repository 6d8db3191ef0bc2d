"""Which weights: what was asked for, else what suits the source, among those that there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from vsr.errors import ModelError
from vsr.plan.notes import Notes
from vsr.preset.find import nearest
from vsr.types import MediaInfo, VideoStreamInfo, WeightsFile, is_set_name

__all__ = [
    "AUTHORS",
    "AUTO",
    "CLEAN",
    "LOW_RATE",
    "SETS",
    "VIDEO",
    "choose_weights",
    "find_weights",
]

#: What ``--weights`` says to leave the choice to the planner, whatever the preset wishes.
AUTO = "auto"
CLEAN, VIDEO, AUTHORS = "clean", "video", "authors"

#: The sets this package knows, whether or not there are files of them.
SETS: Mapping[str, str] = {
    CLEAN: "trained for clean sources; the default",
    VIDEO: "trained for compressed video; the default for sources of a low bit rate",
    AUTHORS: "the checkpoints of FDIWN's authors",
}

#: Bits per pixel below which a source of that codec counts as visibly compressed.
#:
#: The one for H.264 lies between what services send and what discs and cameras record. 6 Mbit/s for
#: 1080p at 30 frames/s and 2 Mbit/s for 540p, the rates of Apple's HLS authoring specification, are
#: 0.10 and 0.13; a Blu-ray Disc's 25 Mbit/s at 24 frames/s are 0.50 and a phone's 17 Mbit/s at 30
#: are 0.27. The others are that one times the rate that the codec takes for the same quality:
#: - HEVC half of H.264's [1]; from HEVC's savings over the older ones at equal PSNR, of 35 % over
#:   H.264, 64 % over MPEG-4 ASP, 65 % over H.263 and 71 % over MPEG-2 [1], 1.8, 1.85 and 2.2 times
#:   H.264's for those; MPEG-1 as MPEG-2, and Microsoft's and Flash's variants as their originals;
#: - VP9: HEVC saves 41 % over x264 and 33 % over VP9 [2], so 0.88 times; AV1 0.7 of VP9's [3];
#: - VP8, VC-1 and Theora as H.264, whose generation they are.
#: Codecs that are not listed are lossless, or code each frame alone at high rates.
#:
#: [1] Ohm et al., "Comparison of the Coding Efficiency of Video Coding Standards, Including High
#: Efficiency Video Coding (HEVC)", IEEE Trans. CSVT 22(12), 2012. [2] Grois et al., "Comparative
#: Assessment of H.265/MPEG-HEVC, VP9, and H.264/MPEG-AVC Encoders for Low-Delay Video
#: Applications", Proc. SPIE 9217, 2014. [3] Han et al., "A Technical Overview of AV1", Proc. IEEE
#: 109(9), 2021.
LOW_RATE: Mapping[str, float] = {
    "h264": 0.20,
    "hevc": 0.10,
    "vp9": 0.17,
    "av1": 0.12,
    "vp8": 0.20,
    "vc1": 0.20,
    "wmv3": 0.20,
    "theora": 0.20,
    "mpeg4": 0.36,
    "msmpeg4v2": 0.36,
    "msmpeg4v3": 0.36,
    "h263": 0.37,
    "flv1": 0.37,
    "mpeg1video": 0.44,
    "mpeg2video": 0.44,
}


def choose_weights(
    asked: str | None,
    wished: str | None,
    model: str,
    scale: int,
    files: Sequence[WeightsFile],
    info: MediaInfo,
    video: VideoStreamInfo,
    notes: Notes,
) -> str:
    """Name of the set, or path of the file, whose weights the run uses.

    Args:
        asked: what the request says; ``auto`` overrules the preset and chooses.
        wished: what the preset says.
        model: row of the model table, one that needs weights.
        scale: enlargement.
        files: the weights there are, for all models.
        info: what the source is. video: the stream that is upscaled.
        notes: gets the choice with its reason.

    Raises:
        ModelError: there is no such set, or it has nothing for this model at this scale.
    """
    named, why = (wished, "the preset's") if asked is None else (asked, "asked for")
    if named is not None and named != AUTO:
        if is_set_name(named):
            find_weights(named, model, scale, files)
        notes.why("weights", named, why)
        return named
    there = {
        file.set
        for file in files
        if (file.model, file.scale, file.origin) == (model, scale, "shipped")
    }
    low, why = _is_low_rate(info, video)
    name, other = (VIDEO, CLEAN) if low else (CLEAN, VIDEO)
    if name not in there and other in there:
        why += f"; no {name} weights ship for {model} at x{scale}"
        name = other
    elif name not in there:
        name = CLEAN  # neither: the error is about the default
    find_weights(name, model, scale, files)
    notes.why("weights", name, why)
    return name


def find_weights(name: str, model: str, scale: int, files: Collection[WeightsFile]) -> WeightsFile:
    """The file of the set ``name`` for a model at a scale.

    Args:
        name: a set's name.
        model: row of the model table.
        scale: enlargement.
        files: the weights there are.

    Raises:
        ModelError: there is no such set, or it has nothing for this model at this scale.
    """
    for file in files:
        if (file.set, file.model, file.scale) == (name, model, scale):
            return file
    raise _none(name, model, scale, files)


def _none(name: str, model: str, scale: int, files: Collection[WeightsFile]) -> ModelError:
    """What is wrong with asking for that, and what can be asked for instead."""
    fitting = sorted({file.set for file in files if (file.model, file.scale) == (model, scale)})
    scales = sorted({file.scale for file in files if (file.set, file.model) == (name, model)})
    sets = {*SETS, *(file.set for file in files)}
    choice = f"Sets for {model} at x{scale}: {', '.join(fitting)}." if fitting else ""
    if name == AUTHORS and model == "fdiwn":
        what = f"the authors' weights for {model} at x{scale} are not installed"
        return ModelError(what, remedy="`vsr weights fetch authors` downloads them.")
    if name not in sets:
        hint = nearest(name, sorted(sets))
        if Path(name).is_file():
            hint = f"The file of that name is written './{name}'."
        what = f"there is no set of weights called {name!r}"
        choice = f"{choice} `vsr weights` lists them all.".lstrip()
    else:
        what = f"there are no {name} weights for {model} at x{scale}"
        at = ", ".join(f"x{known}" for known in scales)
        hint = f"There are some at {at}." if scales else f"There are none for {model} at any scale."
    choice = choice or "Name a weights file with --weights FILE."
    return ModelError(what, remedy=f"{hint} {choice}".lstrip())


def _is_low_rate(info: MediaInfo, video: VideoStreamInfo) -> tuple[bool, str]:
    """Whether the source counts as visibly compressed, and a sentence that says why."""
    bound = LOW_RATE.get(video.codec)
    if bound is None:
        return False, f"{video.codec} is lossless or codes each frame alone"
    rate = _bit_rate(info, video)
    if rate is None or not video.average_rate:
        return False, f"the source does not say how many bits a second its {video.codec} takes"
    bits = rate / (video.width * video.height * float(video.average_rate))
    side = "below" if bits < bound else "not below"
    why = f"{video.codec} at {bits:.3f} bits per pixel, {side} {bound:.2f}"
    return bits < bound, why


def _bit_rate(info: MediaInfo, video: VideoStreamInfo) -> float | None:
    """Bits per second of the stream: its own statement, or what the file leaves for it.

    Matroska and transport streams state none. Other streams that state none either count as the
    video's, which errs to the high side.
    """
    if video.bit_rate:
        return float(video.bit_rate)
    if not info.duration or not info.size or len(info.videos) > 1:
        return None
    rest = sum(stream.bit_rate or 0 for stream in info.streams if stream.index != video.index)
    left = float(info.size * 8 / info.duration) - rest
    return left if left > 0 else None
