"""Which reader: the one asked for, or the first of a list that reads this file exactly here."""

from __future__ import annotations

from dataclasses import replace

import torch

from vsr.errors import BackendError, VsrError
from vsr.media.read.reader import ReadRequest, open_reader, reader_class
from vsr.types import FrameBatch, Trim

__all__ = ["AUTO_ORDER", "check_reader", "choose_reader"]

#: What ``auto`` tries, best first. The last one reads everything everywhere.
AUTO_ORDER: tuple[str, ...] = ("nvdec", "pyav")


def choose_reader(request: ReadRequest) -> tuple[str, str]:
    """The reader that ``auto`` means for ``request``, and why.

    The reason is empty where there was nothing to choose: frames are wanted on a CPU.

    Raises:
        VsrError: the file cannot be read by any of them.
    """
    if not request.device.startswith("cuda"):
        return AUTO_ORDER[-1], ""
    said = []
    for name in AUTO_ORDER[:-1]:
        problem = _problem(name, request)
        if problem is None:
            why = "its first frame is the CPU's, sample for sample"
            return name, f"{why}; damage inside of pictures would go unseen"
        said.append(f"not {name}: {problem}")
    return AUTO_ORDER[-1], "; ".join(said)


def check_reader(name: str, request: ReadRequest) -> None:
    """Make sure that a reader somebody named can do what it is asked for.

    Raises:
        UsageError: there is no such reader.
        BackendError: it cannot; the error says why.
    """
    kind = reader_class(name)
    problem = _problem(name, request)
    if problem is not None:
        reads = "run here" if kind.available() else "read this"
        raise BackendError(
            f"the reader {name!r} cannot {reads}: {problem}",
            where=request.path,
            remedy="Leave --reader out; `vsr doctor` lists the readers that work here.",
        )


def _problem(name: str, request: ReadRequest) -> str | None:
    kind = reader_class(name)
    problem = kind.available() or kind.problem(request)
    if problem is None and kind.exact and name != AUTO_ORDER[-1]:
        problem = _first_frame_problem(name, request)
    return problem


def _first_frame_problem(name: str, request: ReadRequest) -> str | None:
    """How the first frame differs from the CPU's, or why there is none; ``None`` if it is equal.

    Only trying shows which profiles and sizes a card decodes, and that its picture is the whole
    picture.
    """
    try:
        here = _first(name, request)
    except (VsrError, RuntimeError, ValueError, TypeError) as error:
        # PyAV and torch say with these what a card, a profile or their interfaces lack.
        return f"its first frame failed ({getattr(error, 'what', error)})"
    there = _first(AUTO_ORDER[-1], request)
    if here is None or there is None or here.pts != there.pts:
        return "its first frame is another one than the CPU's"
    for mine, right in zip(here.planes, there.planes, strict=True):
        if not torch.equal(mine.cpu(), right):
            return "the samples of its first frame are not the CPU's"
    return None


def _first(name: str, request: ReadRequest) -> FrameBatch | None:
    trim = Trim(start=request.trim.start, frames=1)
    one = replace(request, batch=1, trim=trim, side_streams=())
    with open_reader(name, one) as reader:
        for item in reader:
            if isinstance(item, FrameBatch):
                if item.ready is not None:
                    item.ready.synchronize()
                return item
    return None
