"""A folder of images, with the protocol of the papers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.evaluate.benchmark import ImagePair, find_images
from pipelines.evaluate.clip import enlarge
from pipelines.evaluate.clip_source import file_sha256
from pipelines.evaluate.machine import contenders_for, machine_settings
from pipelines.evaluate.options import EvalOptions, Outcome, check_options, name_of
from pipelines.evaluate.score import Entrant, Listener, Scorer
from vsr.engine.contender import Contender
from vsr.engine.protocol import PROTOCOLS, cropped, same_samples
from vsr.errors import InputError, UsageError
from vsr.media.image import read_image
from vsr.types import Evaluation, FrameBatch

__all__ = ["evaluate_images"]


def evaluate_images(
    folder: str,
    scale: int,
    options: EvalOptions | None = None,
    *,
    contenders: Sequence[Contender] | None = None,
    on_event: Listener | None = None,
) -> Outcome:
    """Enlarge the small version of each image of a benchmark and measure against the large one.

    Small images that the folder has are used; where it has none, MATLAB's ``imresize`` makes them.

    Args:
        folder: see :func:`pipelines.evaluate.benchmark.find_images`.
        scale: 2, 3 or 4.
        options: see there; parts of a clip and alignment mean nothing here.
        contenders: who enlarges; by default the model of ``options``, and bicubic.
        on_event: called with progress.

    Raises:
        InputError: no images, one cannot be read, or sizes do not belong together.
        VsrError: network, device or measures cannot be had.
    """
    options = options or EvalOptions()
    check_options(options)
    if options.protocol == "video":
        raise UsageError("images have no video protocol; leave --protocol out")
    pairs = find_images(folder, scale)
    protocol = PROTOCOLS["matlab"]
    chosen = contenders_for(scale, options, exact=True) if contenders is None else contenders
    scorer = Scorer(
        [Entrant(c.name, c.label) for c in chosen],
        options,
        "matlab",
        scale=scale,
        temporal=False,
        timed=True,
        total=len(pairs),
        tell=on_event,
    )
    computed = different = clear = 0
    with scorer:
        for pair in pairs:
            with scorer.clock("decode").work():
                read = cropped(read_image(pair.truth), scale)
                _check_size(pair, read, scorer.shave)
                clear += _lets_through(read)
                truth = protocol.form(read)
                own = protocol.shrink(truth, scale)
                small = own if pair.small is None else _published(pair, pair.small, own, scale)
            computed += pair.small is None
            different += not same_samples(small, own)
            results, seconds = enlarge(chosen, small, truth, scorer)
            scorer.add(
                truth, results, source=small, seconds=seconds, label=pair.truth.name, is_image=True
            )
        metrics, candidates, stills = scorer.finish()
    notes = list(scorer.notes)
    if different:
        notes.append(
            f"{different} of {len(pairs)} small images are not what MATLAB's imresize makes of the "
            "large ones; the small images in the folder were used."
        )
    if clear:
        notes.append(
            f"{clear} of {len(pairs)} images {'has' if clear == 1 else 'have'} alpha, which is not "
            "compared."
        )
    smalls = [pair.small for pair in pairs if pair.small is not None]
    made = "MATLAB's imresize of the large images" if computed else "as published in the folder"
    evaluation = Evaluation(
        kind="images",
        title=f"{name_of(folder)} x{scale}",
        time_base=None,
        metrics=metrics,
        candidates=candidates,
        settings=(
            ("images", folder),
            ("images sha256", _sha256([pair.truth for pair in pairs])),
            ("scale", str(scale)),
            ("small images", made),
            *([("small images sha256", _sha256(smalls))] if smalls else []),
            ("protocol", protocol.summary),
            ("shave", f"{scorer.shave} pixels"),
            *machine_settings(options, chosen),
        ),
        notes=tuple(notes),
    )
    return Outcome(evaluation, stills)


def _check_size(pair: ImagePair, batch: FrameBatch, shave: int) -> None:
    """Raise if nothing is left of a ground truth, cropped, to be compared."""
    if min(batch.width, batch.height) <= 2 * shave:
        raise InputError(
            f"cropped to a multiple of the scale it measures {batch.width}x{batch.height}, and "
            f"with {shave} pixels shaved at each edge nothing is left",
            where=str(pair.truth),
            remedy="Take it out of the folder, or choose a smaller --shave.",
        )


def _lets_through(batch: FrameBatch) -> bool:
    """Whether some of a picture is not opaque; palettes and WebP have alpha for nothing, too."""
    opaque = (1 << batch.format.bits) - 1
    return batch.format.alpha and int(batch.planes[-1].numpy().min()) < opaque


def _published(pair: ImagePair, path: Path, own: FrameBatch, scale: int) -> FrameBatch:
    small = PROTOCOLS["matlab"].form(read_image(path))
    if (small.width, small.height) != (own.width, own.height):
        raise InputError(
            f"it measures {small.width}x{small.height}; x{scale} of {pair.truth.name} needs "
            f"{own.width}x{own.height}",
            where=str(path),
            remedy="Is this the folder of another scale?",
        )
    return small


def _sha256(paths: Sequence[Path]) -> str:
    """One hash for a set of files: of the list of their names and hashes."""
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(os.fsencode(lines)).hexdigest()
