"""The tables of codecs and containers, against what FFmpeg really does."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from independent import decode_frames
from plan_factory import lossless_options, run, write_plan
from synth import make_clip, picture

from vsr.media.codecs import CODECS, encoder_problem
from vsr.media.containers import CONTAINERS, container_of
from vsr.media.write.writer import Writer
from vsr.preset import load_preset
from vsr.types import PIXEL_FORMATS, pixel_format

_SOFTWARE = [name for name, row in CODECS.items() if not row.hardware]
_PAIRS = [(name, box) for name in _SOFTWARE for box in CODECS[name].containers]
_FORMATS = [(name, fmt) for name in _SOFTWARE for fmt in CODECS[name].pixel_formats]
# What decoders call a format that went in: H.264 has no grey of its own in FFmpeg's decoder,
# ProRes 4444 is always read as 12 bits, VP9's alpha needs another decoder.
_READ_AS = {
    ("h264", "gray"): "yuv420p",
    ("h264", "gray10le"): "yuv420p10le",
    ("prores", "yuv444p10le"): "yuv444p12le",
    ("prores", "yuva444p10le"): "yuva444p12le",
    ("vp9", "yuva420p"): "yuv420p",
    ("ffv1", "gbrp"): "bgr0",
    ("ffv1", "gbrap"): "bgra",
}


@pytest.mark.parametrize("row", CODECS.values(), ids=CODECS)
def test_rows_name_known_formats_and_containers(row) -> None:
    assert set(row.pixel_formats) <= set(PIXEL_FORMATS)
    assert set(row.containers) <= set(CONTAINERS)
    assert (row.quality_option is None) == (row.quality_range is None)
    assert row.alpha == any(pixel_format(name).alpha for name in row.pixel_formats)


@pytest.mark.parametrize("name", _SOFTWARE)
def test_software_encoders_open(name: str) -> None:
    assert encoder_problem(name) is None


@pytest.mark.parametrize("name", [n for n, row in CODECS.items() if row.hardware])
def test_hardware_encoders_open_or_say_why_not(name: str) -> None:
    reason = encoder_problem(name)
    assert reason is None or CODECS[name].encoder in reason


def test_default_codecs_fit_their_containers() -> None:
    for container in CONTAINERS.values():
        assert container.name in CODECS[container.default_codec].containers


def test_containers_are_found_by_ending() -> None:
    assert container_of(".M4V") is CONTAINERS["mp4"]
    assert container_of(".mkv") is CONTAINERS["mkv"]
    assert container_of(".mka") is None


@pytest.mark.parametrize(("codec", "box"), _PAIRS)
def test_every_codec_in_every_container(codec: str, box: str, tmp_path: Path) -> None:
    rate = Fraction(24000, 1001)
    clip = make_clip(tmp_path / "in.mp4", width=32, height=32, frames=7, rate=rate, pix_fmt="gray")
    out = tmp_path / f"out.{box}"
    result = run(write_plan(clip.path, out, codec=codec, scale=2))
    assert (result.frames, result.verified, result.warnings) == (7, True, ())
    seen = decode_frames(out)
    tick = Fraction(1, 1000) if CONTAINERS[box].time_base else Fraction(1, 24000)
    assert [round(t / tick) for t in seen.times] == [round(t / tick) for t in clip.times]


@pytest.mark.parametrize(("codec", "fmt"), _FORMATS)
def test_every_pixel_format_encodes(codec: str, fmt: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", width=32, height=32, frames=2)
    out = tmp_path / f"out.{CODECS[codec].containers[0]}"
    run(write_plan(clip.path, out, codec=codec, pix_fmt=fmt, scale=1))
    with av.open(str(out)) as file:
        frame = next(file.decode(video=0))
    assert frame.format.name == _READ_AS.get((codec, fmt), fmt)


@pytest.mark.parametrize(
    ("codec", "fmt", "size"),
    [
        ("h264", "yuv444p10le", (35, 27)),
        ("h264", "yuv420p", (36, 28)),
        ("hevc", "yuv444p12le", (35, 27)),
        ("hevc", "gbrp10le", (35, 27)),
        ("vp9", "yuv420p", (35, 27)),
        ("ffv1", "yuv420p", (35, 27)),
        ("ffv1", "yuv410p", (35, 27)),
        ("ffv1", "gray16le", (35, 27)),
        ("ffv1", "gbrp", (35, 27)),
        ("ffv1", "gbrap", (35, 27)),
        ("ffv1", "yuva444p16le", (35, 27)),
    ],
)
def test_samples_arrive_unchanged(
    codec: str, fmt: str, size: tuple[int, int], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "in.mkv", width=size[0], height=size[1], frames=3, codec="ffv1")
    out = tmp_path / "out.mkv"
    options = lossless_options(CODECS[codec].encoder)
    run(write_plan(clip.path, out, codec=codec, pix_fmt=fmt, scale=1, options=options))
    with av.open(str(out)) as file:
        frames = list(file.decode(video=0))
    assert len(frames) == 3
    for index, frame in enumerate(frames):
        want = picture(index, pixel_format(fmt), *size)
        for have, plane in zip(_planes(frame, fmt), want, strict=True):
            np.testing.assert_array_equal(have, plane)


def _planes(frame: av.VideoFrame, fmt: str) -> list[np.ndarray]:
    if frame.format.name in {"bgr0", "bgra"}:
        plane = frame.planes[0]
        pixels = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size // 4, 4)
        order = (1, 0, 2, 3) if frame.format.name == "bgra" else (1, 0, 2)
        return [pixels[:, : frame.width, channel] for channel in order]
    form = pixel_format(fmt)
    planes = []
    for index, plane in enumerate(frame.planes):
        height, width = form.plane_size(index, frame.width, frame.height)
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        dtype = np.uint8 if form.bytes_per_sample == 1 else np.uint16
        planes.append(rows.view(dtype)[:height, :width])
    return planes


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no scheduler policies here")
def test_no_encoder_runs_in_real_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    with Writer(write_plan(clip.path, tmp_path / "out.mkv", codec="av1")):
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        policies = {os.sched_getscheduler(thread) for thread in threads}
    assert os.SCHED_FIFO not in policies


@pytest.mark.parametrize("size", [(16, 16), (67, 45), (128, 96)])
@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le"])
def test_the_preset_of_ffv1_suits_any_size(size: tuple[int, int], fmt: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", width=size[0], height=size[1], frames=2, codec="ffv1")
    out, options = tmp_path / "out.mkv", dict(load_preset("ffv1").options)
    run(write_plan(clip.path, out, codec="ffv1", pix_fmt=fmt, scale=1, options=options))
    with av.open(str(out)) as file:
        frame = next(file.decode(video=0))
    want = picture(0, pixel_format(fmt), *size)
    for have, plane in zip(_planes(frame, fmt), want, strict=True):
        np.testing.assert_array_equal(have, plane)
