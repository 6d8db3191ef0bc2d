"""Decoding by NVIDIA DALI (``pip install fdiwn-vsr[dali]``), on its GPU or its CPU variant.

DALI hands out pixels in 8 bits with chroma enlarged, so that frames are close to the decoder's and
not equal to them: ``auto`` never takes it. Timestamps come from the file's packets, and every
frame of DALI's must lie where they say; side packets come from PyAV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import torch

from vsr.errors import DecodeError, InputError
from vsr.media.demux.side_packets import SidePackets
from vsr.media.read.batching import Batcher
from vsr.media.read.gpu.planes import DevicePlanes
from vsr.media.read.gpu.upsampled import planes_from_rgb, planes_from_ycbcr
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.storage import other_picture
from vsr.media.read.timestamps import shown_times
from vsr.types import ColorRange, FrameBatch, SidePacket
from vsr.types.place import is_once

__all__ = ["DaliReader"]

_ON_CPU = ("vp8", "vp9")
_ON_GPU = (*_ON_CPU, "h264", "hevc", "av1")
#: Frames that DALI decodes at a time.
_SEQUENCE = 8
# DALI rounds times to milliseconds.
_TOLERANCE = Fraction(2, 1000)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame with its time; ``picture``: ``(H, W, 3)`` uint8, valid until the next sequence."""

    pts: int
    picture: torch.Tensor
    dts: None = None
    duration: None = None


class DaliReader:
    """See :class:`vsr.media.read.reader.Reader`.

    Frames before the wanted part are decoded, too. Damage is not counted: DALI stops at it.
    """

    exact: ClassVar[bool] = False

    def __init__(self, request: ReadRequest) -> None:
        self._request = request
        self._stats = ReadStats(side_packets=dict.fromkeys(request.side_streams, 0))
        self._left = False

    @property
    def stats(self) -> ReadStats:
        """What happened so far."""
        return self._stats

    @classmethod
    def available(cls) -> str | None:
        """Whether DALI is installed; its CPU variant needs nothing else."""
        if find_spec("nvidia") is None or find_spec("nvidia.dali") is None:
            return "DALI is not installed: pip install 'fdiwn-vsr[dali]'"
        return None

    @classmethod
    def problem(cls, request: ReadRequest) -> str | None:
        """What DALI does not decode, resamples, or hands out as something else."""
        video = request.video
        gpu = request.device.startswith("cuda")
        codecs = _ON_GPU if gpu else _ON_CPU
        if is_once(request.path):
            return "DALI reads files, and this is a pipe"
        if video.codec not in codecs:
            return f"DALI decodes {', '.join(codecs)} on this device, not {video.codec}"
        if video.format.bits > 8:
            return f"DALI makes 8 bits of {video.format.bits}"
        if video.format.name != "yuv420p":
            return f"DALI reads 4:2:0, not {video.native_format}"
        if video.color.range is ColorRange.FULL and not gpu:
            return "the video has full range, which DALI converts"
        if video.width % 2 or video.height % 2:
            return f"{video.width}x{video.height} is odd, and its last row or column of chroma lost"
        if request.deinterlace or video.interlaced:
            return "the video is to be deinterlaced, and DALI does not say which frames are"
        if request.on_resize == "scale":
            return "DALI does not scale frames of other sizes as the CPU's reader does"
        if not Path(request.path).is_file():
            return "DALI reads files of this machine only"
        return None

    def __enter__(self) -> Self:
        self._times, self._time_base = shown_times(self._request.path, self._request.video)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True  # DALI's pipeline ends with the iteration, wherever that runs

    def _stay(self) -> None:
        if self._left:
            raise RuntimeError("the reader was left before its iteration had ended")

    def __iter__(self) -> Iterator[FrameBatch | SidePacket]:
        request, stats, tick = self._request, self._stats, self._time_base
        batcher = Batcher(request, stats, tick, _Storage(request))
        trim = request.trim
        end = None if trim.end is None else trim.end * tick
        with SidePackets.of(request, tick, self._stay) as side:
            for frame in self._frames():
                yield from self._counted(side.until(frame.pts * tick))
                yield from batcher.add(frame)
                if batcher.end is not None:
                    end = batcher.end * tick
                    break
            yield from self._counted(side.rest(end))
        yield from batcher.finish()
        stats.end = batcher.end
        if stats.frames == 0 and not request.may_be_empty:
            raise InputError("the requested part holds no frame", where=request.path)

    def _counted(self, packets: Iterator[SidePacket]) -> Iterator[SidePacket]:
        for packet in packets:
            self._stats.side_packets[packet.stream] += 1
            yield packet

    def _frames(self) -> Iterator[_Frame]:
        """All frames of the file, each checked to be the one that its packet announced."""
        at = 0
        for pictures, numbers, seconds in self._sequences():
            self._stay()
            for picture, number, time in zip(pictures, numbers, seconds, strict=True):
                if at == len(self._times):
                    if number == at:
                        raise self._mistake(f"more than the {at} frames that the packets announce")
                    return
                pts = self._times[at]
                expected = (pts - self._times[0]) * self._time_base
                if number != at:
                    raise self._mistake(f"{at} frames where {len(self._times)} are announced")
                if abs(Fraction(time) - expected) > _TOLERANCE + self._time_base:
                    raise self._mistake(
                        f"frame {at} at {time:.3f} s where {float(expected):.3f} s is announced"
                    )
                yield _Frame(pts, picture)
                at += 1

    def _mistake(self, what: str) -> DecodeError:
        return DecodeError(
            f"DALI gives {what}", where=self._request.path, remedy="Use --reader pyav."
        )

    def _sequences(self) -> Iterator[tuple[torch.Tensor, list[int], list[float]]]:
        """Some frames at a time, without end: ``(F, H, W, 3)``, their numbers and seconds."""
        # Its stubs know neither its operators' outputs nor its enumerations.
        dali: Any = import_module("nvidia.dali")
        feed_ndarray: Any = import_module("nvidia.dali.plugin.pytorch").feed_ndarray
        types: Any = dali.types

        device = torch.device(self._request.device)
        gpu = device.type == "cuda"
        pipeline = dali.pipeline.Pipeline(
            batch_size=1,
            num_threads=1,
            device_id=(device.index or 0) if gpu else None,
            prefetch_queue_depth=1,
        )
        try:
            with pipeline:
                pipeline.set_outputs(
                    *dali.fn.experimental.readers.video(
                        device="gpu" if gpu else "cpu",
                        filenames=[self._request.path],
                        sequence_length=_SEQUENCE,
                        enable_frame_num="sequence",
                        enable_timestamps=True,
                        # Otherwise the last frames of the file would be missing.
                        pad_mode="constant",
                        image_type=types.YCbCr if gpu else types.RGB,
                    )
                )
            pipeline.build()
            while True:
                pictures, numbers, seconds = (output[0] for output in pipeline.run())
                shape = tuple(pictures.shape())
                held = torch.empty(shape, dtype=torch.uint8, device=device)
                feed_ndarray(pictures, held)
                yield held, _list(numbers), _list(seconds)
        except RuntimeError as error:
            raise DecodeError(
                f"DALI failed: {_last_line(error)}",
                where=self._request.path,
                remedy="Use --reader pyav, which goes on behind damaged places.",
            ) from error


class _Storage(DevicePlanes):
    """Planes from DALI's pictures, on the device where those are."""

    def __init__(self, request: ReadRequest) -> None:
        super().__init__(request)
        self._split = planes_from_ycbcr if self._device.type == "cuda" else planes_from_rgb

    def put(self, frame: _Frame, at: int, place: Callable[[], str]) -> None:
        """Copy a picture into place ``at`` of the batch."""
        video = self._request.video
        height, width = frame.picture.shape[:2]
        if (width, height) != (video.width, video.height):
            raise other_picture(self._request, (width, height), "yuv420p", place)
        for plane, samples in zip(self._at(at), self._split(frame.picture), strict=True):
            plane.copy_(samples)


def _list(tensor: Any) -> list[Any]:
    host = tensor.as_cpu() if hasattr(tensor, "as_cpu") else tensor
    values: list[Any] = torch.utils.dlpack.from_dlpack(host.__dlpack__()).flatten().tolist()
    return values


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if "failed" in line]
    return lines[-1].strip() if lines else str(error).partition("\n")[0]
