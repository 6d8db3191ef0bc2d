"""What a teacher makes of the LR pictures of a store, prepared once and mapped into memory.

A teacher's pictures are learnt beside the originals (knowledge distillation: Hinton et al., arXiv
1503.02531). What no network can know from LR, noise and the very place of a stripe, is in the
originals and pulls each step another way; a teacher's pictures have its guess of the mean. The
teacher may be the network itself, because it is asked eight times about each picture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.errors import InputError, OutputError
from vsr.training.data.store import Store, alone, mapped

__all__ = ["in_eight_positions", "taught"]

#: LR ``(1, 3, H, W)``, float32 codes, to HR likewise.
Network = Callable[[Tensor], Tensor]

#: Changes when a teacher's pictures are made otherwise, so that old ones are not taken.
_FORMAT = 1


def in_eight_positions(network: Network, x: Tensor) -> Tensor:
    """Mean of what a network makes of a picture in its eight positions, each turned back.

    The "enhanced prediction" of Timofte et al. (CVPR 2016, arXiv 1511.02228), the geometric
    self-ensemble of Lim et al. (EDSR, arXiv 1707.02921). It costs eight passes; where the network
    is sure in one position and wrong, as at stripes finer than LR can show, others contradict it.

    Args:
        network: ``(N, 3, H, W)`` to ``(N, 3, scale * H, scale * W)``.
        x: ``(N, 3, H, W)``.
    """
    results = []
    for quarters in range(4):
        for mirrored in (False, True):
            turned = torch.rot90(x, quarters, (2, 3))
            result = network((turned.flip(3) if mirrored else turned).contiguous())
            results.append(torch.rot90(result.flip(3) if mirrored else result, -quarters, (2, 3)))
    return torch.stack(results).mean(0)


def taught(
    store: Store,
    folder: Path,
    network: Network,
    teacher: str,
    *,
    on_picture: Callable[[int, int], None] = lambda _done, _total: None,
) -> Store:
    """The store with what a teacher makes of its pictures; made first where it has not been.

    Where a process was killed that made them, this one goes on behind its last picture. Where
    another process is at it, this one waits.

    Args:
        store: the pairs to be trained on, each the whole of its HR picture.
        folder: where they are; gets a file for the teacher.
        network: the teacher's.
        teacher: what tells this teacher from others, such as the hash of its weights.
        on_picture: called with pictures done and in all.

    Raises:
        OutputError: the pictures cannot be written.
        InputError: what was written is damaged.
    """
    facts = (_FORMAT, teacher, [(e.lr, e.hr, e.height, e.width) for e in store.entries])
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    path = folder / f"teacher-{digest}.u8"
    try:
        with alone(folder / f".{path.name}.lock"):
            if not path.is_file():
                part = folder / f".{path.name}.part"
                _write(store, part, network, on_picture)
                part.replace(path)
                _progress(part).unlink()
    except OSError as error:
        raise OutputError(
            f"the teacher's pictures cannot be written ({error.strerror or error})",
            where=str(folder),
            remedy="Make room, change the permissions, or choose another folder with --store.",
        ) from error
    try:
        return replace(store, taught=mapped(path, store.hr.numel()))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the teacher's pictures are damaged ({error})",
            where=str(path),
            remedy="Delete this file; it is made again.",
        ) from error


def _progress(part: Path) -> Path:
    """The file that says how many pictures are in ``part``."""
    return part.with_name(f"{part.name}.done")


def _write(
    store: Store, part: Path, network: Network, on_picture: Callable[[int, int], None]
) -> None:
    done, total = _done(part), len(store.entries)
    with part.open("r+b" if done else "wb") as file:
        # Laid out as HR is. What is not trained on stays a hole, which takes no room on the disk.
        file.truncate(store.hr.numel())
        for number, entry in enumerate(store.entries):
            on_picture(number, total)
            if number < done:
                continue
            lr, _ = store.pair(entry)
            large = in_eight_positions(network, lr.permute(2, 0, 1)[None].float())
            codes = large[0].clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0)
            file.seek(entry.hr)
            file.write(np.ascontiguousarray(codes.cpu().numpy()).data)
            file.flush()
            os.fsync(file.fileno())
            _progress(part).write_text(str(number + 1), encoding="ascii")
    on_picture(total, total)


def _done(part: Path) -> int:
    """How many pictures a process that was killed has left in ``part``."""
    try:
        return int(_progress(part).read_text(encoding="ascii")) if part.is_file() else 0
    except (FileNotFoundError, ValueError):
        return 0
