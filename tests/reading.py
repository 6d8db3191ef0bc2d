"""Helpers of the readers' tests: everything that a reader gives, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, ReadStats, open_reader
from vsr.types import FrameBatch, SidePacket, VideoStreamInfo

__all__ = ["Result", "near", "request", "same"]


class Result:
    """Everything a reader gave, frame by frame."""

    def __init__(self, request: ReadRequest, reader: str = "pyav") -> None:
        self.frames: list[list[NDArray[Any]]] = []
        self.pts: list[int] = []
        self.durations: list[int] = []
        self.sizes: list[int] = []
        self.side: list[SidePacket] = []
        self.stats: ReadStats
        with open_reader(reader, request) as opened:
            for item in opened:
                if isinstance(item, SidePacket):
                    self.side.append(item)
                else:
                    self._add(item, request.video)
            self.stats = opened.stats

    def _add(self, batch: FrameBatch, video: VideoStreamInfo) -> None:
        fmt = batch.format
        assert fmt == video.format
        assert batch.first_index == len(self.pts)
        assert batch.time_base == video.time_base
        assert len(batch.planes) == fmt.planes
        for index, plane in enumerate(batch.planes):
            assert plane.shape == (len(batch), *fmt.plane_size(index, batch.width, batch.height))
            assert plane.dtype == (torch.uint8 if fmt.bits <= 8 else torch.uint16)
            assert plane.is_contiguous()
        self.pts += batch.pts
        self.durations += batch.durations
        self.sizes.append(len(batch))
        for at in range(len(batch)):
            self.frames.append([plane[at].cpu().numpy() for plane in batch.planes])


def request(path: Path, **options: Any) -> ReadRequest:
    return ReadRequest(str(path), probe(str(path)).videos[0], **options)


def same(a: list[NDArray[Any]], b: list[NDArray[Any]]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def near(a: list[NDArray[Any]], b: list[NDArray[Any]]) -> bool:
    """The same picture, of which an encoder lost a little."""
    return all(np.abs(x.astype(int) - y).max() <= 4 for x, y in zip(a, b, strict=True))
