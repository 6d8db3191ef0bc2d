"""Files with the same content side by side: a page, a strip of pictures, or both."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipelines.compare_files import ComparedFile, FileFacts, open_files
from pipelines.report import check_results, new_files, render_page, save
from vsr import __version__
from vsr.errors import UsageError
from vsr.media.png import encode_png
from vsr.media.view.pairing import Timeline
from vsr.media.view.picture import enlarge_nearest, read_picture
from vsr.media.view.strip import make_strip, need_labels
from vsr.models.bicubic import resize
from vsr.models.weights import sha256
from vsr.plan.color import is_hdr
from vsr.types.evaluation import Candidate, Evaluation, MetricInfo
from vsr.types.place import on_disk
from vsr.types.stills import Picture, Still
from vsr.types.text import clock_text

__all__ = ["Comparison", "FileFacts", "compare"]

Enlarge = Literal["bicubic", "nearest"]

_METRICS = tuple(
    MetricInfo(
        name=name,
        label=label,
        unit=unit,
        decimals=decimals,
        higher_is_better=None,
        per_frame=False,
    )
    for name, label, unit, decimals in (
        ("width", "Width", "px", 0),
        ("height", "Height", "px", 0),
        ("frames", "Frames", "", 0),
        ("duration", "Duration", "s", 3),
        ("size", "Size", "MB", 3),
        ("bit_rate", "Bit rate", "kbit/s", 0),
    )
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared and written.

    Attributes:
        files: in the order given.
        frames: indices of the frames that are shown.
        times: when they are shown, in seconds from the first frame.
        crop: the part that is shown, ``(x, y, width, height)``; ``None`` for all of it.
        page: the page, or ``None``.
        still: the strip, or ``None``.
        notes: what to bear in mind while looking, a sentence each.
    """

    files: tuple[FileFacts, ...]
    frames: tuple[int, ...]
    times: tuple[Fraction, ...]
    crop: tuple[int, int, int, int] | None
    page: str | None
    still: str | None
    notes: tuple[str, ...]


def compare(
    paths: Sequence[str],
    *,
    page: str | None = None,
    still: str | None = None,
    at: Sequence[Fraction] = (),
    frames: int | None = None,
    enlarge: Enlarge = "bicubic",
    crop: tuple[int, int, int, int] | None = None,
    zoom: int = 1,
    labels: bool = True,
    overwrite: bool = False,
) -> Comparison:
    """Compare files that show the same frames, at whatever sizes.

    Frames are paired by time. Smaller pictures are brought to the largest one's size, by MATLAB's
    bicubic or by repeating pixels.

    Args:
        paths: two files or more.
        page: path of the HTML page, ``.html`` or ``.htm``; by default ``<stem>_compare.html``
            beside the first file, unless there is a strip.
        still: path of a ``.png`` file with a row for each frame and a column for each file.
        at: seconds from the first frame; the frames that are on the screen then.
        frames: how many frames, evenly spaced, where ``at`` is empty: by default 8, or 1 if there
            is only a strip.
        enlarge: how smaller pictures become larger.
        crop: the part that is shown, in pixels of the largest picture.
        zoom: the strip shows each pixel as this many squared.
        labels: the strip has the names of files and the times in it.
        overwrite: replace results that are already there.

    Raises:
        UsageError: fewer than two files, frames by time and by number, a crop that lies outside, or
            a result whose name has the ending of another kind of file.
        InputError: a file cannot be read, pictures have different shapes, or a frame has no
            partner at its time.
        OutputError: a result cannot be written, is already there, or is one of the files.
        DependencyError: labels are wanted and Pillow is not installed.
    """
    if len(paths) < 2:
        raise UsageError("there is nothing to compare with", remedy="Name two files or more.")
    if at and frames is not None:
        raise UsageError("frames are chosen by time or by number, not by both")
    _check_endings(page, still)
    if still is not None and labels:
        need_labels()
    if page is None and still is None:
        if not on_disk(paths[0]):
            kind = "URL" if "://" in paths[0] else "pipe"
            raise UsageError(f"a {kind} has no folder for the page", remedy="Name it with -o.")
        page = str(Path(paths[0]).with_name(f"{Path(paths[0]).stem}_compare.html"))
    results = [Path(path) for path in (page, still) if path is not None]
    check_results(results, paths)
    files = open_files(paths)
    chosen = _choose(files[0].line, at, frames or (1 if page is None else 8))
    size = _largest(files)
    if crop is not None:
        _check_crop(crop, size)
    notes = _notes(files, size, enlarge, crop)
    with new_files(results, overwrite=overwrite) as temporary:
        pictures = [
            [_picture(file, index, size, enlarge, crop) for file in files] for index in chosen
        ]
        done = Comparison(
            files=tuple(file.facts for file in files),
            frames=chosen,
            times=tuple(files[0].line.time(index) for index in chosen),
            crop=crop,
            page=page,
            still=still,
            notes=notes,
        )
        if page is not None:
            save(temporary[0], _page(files, done, pictures, size, enlarge))
        if still is not None:
            columns = [_label(file, size, enlarge) for file in files] if labels else []
            names = [_frame_name(done, i) for i in range(len(chosen))] if labels else []
            strip = make_strip(pictures, columns, names, zoom=zoom)
            save(temporary[-1], encode_png(strip))
    return done


def _check_endings(page: str | None, still: str | None) -> None:
    if page is not None and Path(page).suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "the page is HTML: its name ends with .html",
            where=page,
            remedy="For a picture, name a .png file with --still (still=).",
        )
    if still is not None and Path(still).suffix.lower() != ".png":
        raise UsageError(
            "the strip is a PNG picture: its name ends with .png",
            where=still,
            remedy="For a page, name a .html file with -o (page=).",
        )


def _choose(line: Timeline, at: Sequence[Fraction], frames: int) -> tuple[int, ...]:
    """Indices of the frames that are shown at ``at``, or the middles of equal parts."""
    count = len(line.pts)
    if not at:
        frames = min(frames, count)
        return tuple((2 * i + 1) * count // (2 * frames) for i in range(frames))
    times = [line.time(index) for index in range(count)]
    step = times[-1] - times[-2] if count > 1 else Fraction(0)
    for time in at:
        if not 0 <= time <= times[-1] + step:
            raise UsageError(
                f"there is no frame at {float(time):g} s: the last one is shown at "
                f"{float(times[-1]):.3f} s",
                where=line.path,
            )
    return tuple(sorted({bisect_right(times, time) - 1 for time in at}))


def _largest(files: Sequence[ComparedFile]) -> tuple[int, int]:
    return max((file.facts.width, file.facts.height) for file in files)


def _check_crop(crop: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    x, y, width, height = crop
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[0] or y + height > size[1]:
        raise UsageError(
            f"the part {x},{y},{width},{height} does not lie inside the picture",
            remedy=f"The largest picture measures {size[0]}x{size[1]}: x,y,width,height.",
        )


def _picture(
    file: ComparedFile,
    index: int,
    size: tuple[int, int],
    enlarge: Enlarge,
    crop: tuple[int, int, int, int] | None,
) -> Tensor:
    width, height = size
    picture = read_picture(file.line.path, file.video, file.line.pts[index])
    if picture.shape[1:] != (height, width):
        if enlarge == "nearest":
            picture = enlarge_nearest(picture, height, width)
        else:
            image = resize(picture.permute(1, 2, 0).numpy(), height, width)
            picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if crop is None:
        return picture
    x, y, w, h = crop
    return picture[:, y : y + h, x : x + w]


def _label(file: ComparedFile, size: tuple[int, int], enlarge: Enlarge) -> str:
    facts = file.facts
    label = f"{facts.name}, {facts.width}x{facts.height}"
    return label if (facts.width, facts.height) == size else f"{label}, {enlarge}"


def _frame_name(done: Comparison, at: int) -> str:
    return f"frame {done.frames[at]}, {clock_text(done.times[at])}"


def _notes(
    files: Sequence[ComparedFile],
    size: tuple[int, int],
    enlarge: Enlarge,
    crop: tuple[int, int, int, int] | None,
) -> tuple[str, ...]:
    notes = []
    smaller = [f.facts.name for f in files if (f.facts.width, f.facts.height) != size]
    if smaller:
        how = "MATLAB's bicubic" if enlarge == "bicubic" else "repeating pixels (nearest)"
        notes.append(f"Enlarged to {size[0]}x{size[1]} by {how}: {', '.join(smaller)}.")
    if crop is not None:
        x, y, width, height = crop
        notes.append(
            f"Of pictures of {size[0]}x{size[1]}, {width}x{height} are shown, from ({x}, {y}) on."
        )
    for file in files:
        if file.hidden:
            notes.append(
                f"Frames of {file.facts.name} that are shown at the time of another one, and so "
                f"neither counted nor compared: {file.hidden}."
            )
        sar = file.video.sar
        if sar != 1:
            notes.append(
                f"Pixels of {file.facts.name} are {sar.numerator}:{sar.denominator}; they are "
                "shown as squares."
            )
        if is_hdr(file.video.color):
            notes.append(
                f"{file.facts.name} is HDR ({file.video.color.transfer.name}); it is shown "
                "without tone mapping, and looks dull."
            )
    return tuple(notes)


def _page(
    files: Sequence[ComparedFile],
    done: Comparison,
    pictures: Sequence[Sequence[Tensor]],
    size: tuple[int, int],
    enlarge: Enlarge,
) -> str:
    line = files[0].line
    stills = [
        Still(
            index=index,
            pts=line.pts[index] - line.pts[0],
            label="",
            pictures=tuple(
                Picture(file.facts.name, _label(file, size, enlarge), encode_png(picture))
                for file, picture in zip(files, row, strict=True)
            ),
        )
        for index, row in zip(done.frames, pictures, strict=True)
    ]
    evaluation = Evaluation(
        kind="compare",
        title=" and ".join(file.facts.name for file in files)
        if len(files) == 2
        else f"{files[0].facts.name} and {len(files) - 1} others",
        time_base=line.time_base,
        metrics=_METRICS,
        candidates=tuple(_candidate(file.facts) for file in files),
        settings=(
            *((file.facts.name, _hash(file.line.path)) for file in files),
            ("frames", ", ".join(map(str, done.frames))),
            ("version", f"vsr {__version__}"),
        ),
        notes=done.notes,
    )
    return render_page(evaluation, stills)


def _hash(path: str) -> str:
    return f"SHA-256 {sha256(Path(path))}" if on_disk(path) else path


def _candidate(facts: FileFacts) -> Candidate:
    summary = {
        "width": float(facts.width),
        "height": float(facts.height),
        "frames": float(facts.frames),
        "duration": float(facts.duration),
        "size": facts.size / 1e6,
    }
    if facts.bit_rate is not None:
        summary["bit_rate"] = facts.bit_rate / 1000
    return Candidate(
        name=facts.name, label=f"{facts.name} ({facts.codec})", summary=summary, frames=()
    )
