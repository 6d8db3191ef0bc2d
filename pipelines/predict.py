"""How long a plan will take, how large its result, how much memory: from a short probe."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import torch

from pipelines.memory import resident_memory
from pipelines.segments.cut import why_whole
from pipelines.upscale import expected_frames, read_request
from vsr.engine.upscaler import Upscaler
from vsr.media.read.reader import open_reader
from vsr.media.write.writer import Writer
from vsr.types import FrameBatch, Plan

__all__ = ["Prediction", "predict"]

#: Frames encoded to learn bits per frame: long enough for B-frames and a rate to settle.
_PROBE_FRAMES = 24
#: Side of the crop that is first put through the network, to learn how large a crop fits the time.
_FIRST_SIDE = 64
#: Resident bytes per sample of one input frame while the network runs, by model and scale, float32
#: in eager PyTorch on the CPU (measured as peak minus resting resident set at 640x360).
_BYTES_PER_PIXEL = {"fdiwn": 1500, "fdiwn-m": 1500, "bicubic": 160}
#: The same of the native backend, by what its maps are stored as: seven or eight maps of 24
#: channels, frame by frame whatever the batch, and what torch holds of head and tail.
_NATIVE_BYTES_PER_PIXEL = {"bfloat16": 450, "float16": 500, "float32": 900}
#: Frames of the result that would fill the memory an encoder takes, and as many more a thread:
#: what it looks ahead, and with each frame half samples and vectors. Measured at 1920x1080, at
#: speeds medium, medium, 6 and 4; x264 at 3840x2160 too.
_ENCODER_FRAMES = {
    "libx264": (130, 5), "libx265": (137, 9), "libsvtav1": (180, 0), "libvpx-vp9": (100, 0)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run will cost.

    Attributes:
        frames: expected, ``None`` if the container does not say; the totals are then ``None`` too.
        fps: frames per second of the whole run.
        seconds: wall time.
        bytes: size of the result.
        memory: peak resident set in bytes.
        how: what was measured, one sentence.
    """

    frames: int | None
    fps: float
    seconds: float | None
    bytes: int | None
    memory: int
    how: str


def predict(plan: Plan, seconds: float = 2.0) -> Prediction:
    """Probe the stages of ``plan`` for about ``seconds`` each and extrapolate.

    The network runs on a crop that fits the time; the encoder gets the first frames enlarged by
    bicubic (sharper frames need some more bits).

    Raises:
        VsrError: as the run itself would.
    """
    frames = expected_frames(plan)
    # Of a job in segments, one's encoder ends while the next one's has begun.
    encoders = 1 if why_whole(plan) else 2
    batches, decode = _decode(plan, seconds)
    crop, infer = _infer(plan, batches[0], seconds)
    resting = resident_memory()  # what the probe's encoder takes may stay after it
    encode, sizes = _encode(plan, batches, seconds)
    # On a CPU the stages share the same cores; on a GPU they overlap.
    cost = decode + infer + encode if plan.device == "cpu" else max(decode, infer, encode)
    shot = sum(len(batch) for batch in batches)
    return Prediction(
        frames=frames,
        fps=1 / cost,
        seconds=None if frames is None else frames * cost,
        bytes=None
        if frames is None
        else _picture_bytes(frames, plan.encode.gop, *sizes) + _side_bytes(plan, frames),
        memory=resting + _memory(plan, encoders),
        how=f"the network timed on {crop[0]}x{crop[1]} of the first frame, decoder and encoder on "
        f"the first {shot} frames, enlarged by bicubic",
    )


def _decode(plan: Plan, seconds: float) -> tuple[list[FrameBatch], float]:
    """The first batches, as many as are decoded in the time; seconds per frame."""
    most = min(_PROBE_FRAMES, plan.trim.frames or _PROBE_FRAMES)
    trim = replace(plan.trim, frames=most)
    request = replace(read_request(replace(plan, trim=trim, streams=())), batch=1)
    batches = []
    begun = time.perf_counter()
    with open_reader(plan.reader, request) as reader:
        for item in reader:
            if isinstance(item, FrameBatch):
                batches.append(item)
                if time.perf_counter() - begun > seconds:
                    break
    return batches, (time.perf_counter() - begun) / len(batches)


def _infer(plan: Plan, batch: FrameBatch, seconds: float) -> tuple[tuple[int, int], float]:
    """``(width, height)`` of the crop that was timed, and seconds per whole frame."""
    upscaler = Upscaler.of(plan)
    width, height = plan.video.width, plan.video.height
    small = (min(width, _FIRST_SIDE), min(height, _FIRST_SIDE))
    first = min(_time_crop(upscaler, *small) for _ in range(3))  # brief, hence easily disturbed
    # A larger crop of the frame's shape, two calls of which fit the time, and at least four times
    # the area, to tell what a call costs from what a sample costs.
    room = max(seconds / 2 / first, 4.0) * (small[0] * small[1]) / (width * height)
    share = math.sqrt(min(1.0, room))
    crop = (max(small[0], int(width * share)), max(small[1], int(height * share)))
    second = _time_crop(upscaler, *crop)
    gained = crop[0] * crop[1] - small[0] * small[1]
    slope = (second - first) / gained if gained and second > first else second / math.prod(crop)
    whole = second + slope * (width * height - math.prod(crop))
    colour = _time_colour(plan, batch)
    return crop, colour if plan.model.name == "bicubic" else whole + colour


def _time_crop(upscaler: Upscaler, width: int, height: int) -> float:
    """Seconds of one call of the network on a frame of this size."""
    crop = torch.rand(1, 3, height, width) * 255
    upscaler(crop)  # the first call allocates, chooses kernels, compiles
    begun = time.perf_counter()
    upscaler(crop).cpu()
    return time.perf_counter() - begun


def _time_colour(plan: Plan, batch: FrameBatch) -> float:
    """Seconds to bring one frame to RGB and back, with bicubic between, which is quick."""
    enlarge = Upscaler(plan.model.scale, "bicubic", device=plan.device)
    enlarge.upscale(batch, plan.encode.format, plan.encode.tags)  # builds the chroma filters
    begun = time.perf_counter()
    enlarge.upscale(batch, plan.encode.format, plan.encode.tags)
    return time.perf_counter() - begun


def _encode(
    plan: Plan, batches: Sequence[FrameBatch], seconds: float
) -> tuple[float, tuple[float, float]]:
    """Seconds per frame of the planned encoder, and bytes of a key frame and of another."""
    enlarge = Upscaler(plan.model.scale, "bicubic", device=plan.device)
    with tempfile.TemporaryDirectory(prefix="vsr-predict-") as folder:
        destination = Path(folder) / f"probe{Path(plan.destination).suffix}"
        short = replace(
            plan,
            destination=str(destination),
            streams=(),
            chapters=False,
            verify=False,
            overwrite=False,
            time_shift=Fraction(0) if plan.time_shift < 0 else plan.time_shift,
        )
        taken, count = 0.0, 0
        with Writer(short) as writer:
            for batch in batches:
                large = enlarge.upscale(batch, plan.encode.format, plan.encode.tags)
                begun = time.perf_counter()
                writer.write(large)
                taken += time.perf_counter() - begun
                count += len(batch)
                if taken > seconds:
                    break
            begun = time.perf_counter()
            writer.finish()
            taken += time.perf_counter() - begun
        sizes = list(_packet_sizes(destination))
    key = max((size for size, is_key in sizes if is_key), default=0)
    others = [size for size, is_key in sizes if not is_key]
    between = sum(others) / len(others) if others else key
    return taken / count, (key, between)


def _picture_bytes(frames: int, gop: int, key: float, between: float) -> int:
    """Bytes of all pictures; segments are whole groups, and so need no further key frames."""
    keys = -(-frames // max(1, gop))
    return round(keys * key + (frames - keys) * between)


def _packet_sizes(path: Path) -> Iterator[tuple[int, bool]]:
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                yield packet.size, packet.is_keyframe


def _side_bytes(plan: Plan, frames: int) -> int:
    """Bytes of the copied streams, from the bit rates that the container states."""
    rate = plan.video.average_rate
    if rate is None:
        return 0
    bits = sum(a.stream.bit_rate or 0 for a in plan.streams if a.action != "drop")
    return round(bits / 8 * float(frames / rate))


def _memory(plan: Plan, encoders: int) -> int:
    """What a run adds to the resident set: network, frames in the queues, encoders."""
    pixels = plan.video.width * plan.video.height * plan.batch
    large = plan.width * plan.height * 3 * plan.encode.format.bytes_per_sample
    # The others, which look at single pictures, have not been measured.
    ahead, each = _ENCODER_FRAMES.get(plan.encode.encoder, (10, 0))
    # Two batches wait before and after the network.
    queued = (4 * plan.batch + encoders * (ahead + each * plan.encode.threads)) * large // 2
    network = pixels * _BYTES_PER_PIXEL.get(plan.model.name, max(_BYTES_PER_PIXEL.values()))
    if plan.backend == "native":
        network = pixels // plan.batch * _NATIVE_BYTES_PER_PIXEL[plan.dtype]
    return network + queued
