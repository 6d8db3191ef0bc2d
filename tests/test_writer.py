"""The writer's contract: frames, times, tags."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch
from av.sidedata.sidedata import Type as SideDataType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from independent import decode_frames, ffmpeg
from plan_factory import changed, ffmpeg_log, read, run, write_plan
from synth import Clip, make_clip

from vsr.errors import EncodeError, OutputError
from vsr.media.codecs import CODECS
from vsr.media.probe import probe
from vsr.types import (
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    HdrMetadata,
    Matrix,
    Plan,
    Primaries,
    SidePacket,
    Transfer,
    pixel_format,
)

_ODD_STEPS = [0, 512, 1024, 3000, 3001, 7000, 7512, 9000, 9600, 20000]
_HDR = HdrMetadata(
    primaries=tuple(
        (Fraction(x, 50000), Fraction(y, 50000))
        for x, y in ((34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450))
    ),
    min_luminance=Fraction(1, 200),
    max_luminance=Fraction(1000),
    max_cll=1000,
    max_fall=400,
)
_PQ = Color(
    Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED, ChromaSite.TOPLEFT
)


def _pts(path: Path) -> tuple[list[int], Fraction]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        pts = [p.pts for p in file.demux(stream) if p.size and not p.is_discard]
        return sorted(p for p in pts if p is not None), stream.time_base


def _seconds(path: Path) -> list[Fraction]:
    pts, tick = _pts(path)
    return [p * tick for p in pts]


def _close(have: list[Fraction], want: list[Fraction], ms: bool) -> None:
    assert len(have) == len(want)
    limit = Fraction(1, 2000) if ms else Fraction(0)
    assert all(abs(a - b) <= limit for a, b in zip(have, want, strict=True)), (have, want)


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_variable_rate_with_b_frames(codec: str, box: str, tmp_path: Path) -> None:
    tick = Fraction(1, 12288)
    clip = make_clip(tmp_path / "in.mp4", frames=10, time_base=tick, pts=_ODD_STEPS)
    out = tmp_path / f"out.{box}"
    options = {"preset": "medium", "bf": "3"}
    run(write_plan(clip.path, out, codec=codec, options=options))
    _close(_seconds(out), list(clip.times), ms=box == "mkv")
    assert decode_frames(out).ticks(1000) == [round(t * 1000) for t in clip.times]
    with av.open(str(out)) as file:
        assert any(p.pts != p.dts for p in file.demux(video=0) if p.size)


@pytest.mark.parametrize("box", ["mp4", "mkv"])
def test_last_frame_keeps_its_duration(box: str, tmp_path: Path) -> None:
    pts = [0, 10, 20, 30]
    clip = make_clip(tmp_path / "in.mp4", frames=4, rate=10, time_base=Fraction(1, 100), pts=pts)
    for codec in ("h264", "av1"):
        out = tmp_path / f"{codec}.{box}"
        run(write_plan(clip.path, out, codec=codec))
        with av.open(str(out)) as file:
            assert file.duration == pytest.approx(400_000, abs=1000)


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv", "webm"])
def test_start_offset(box: str, tmp_path: Path) -> None:
    pts = [129750 + i * 3754 for i in range(6)]
    clip = make_clip(tmp_path / "in.mkv", frames=6, time_base=Fraction(1, 90000), pts=pts)
    # Matroska rounds to ms; what the source says is what the plan sees.
    plan = write_plan(clip.path, tmp_path / f"out.{box}", codec="vp9" if box == "webm" else "h264")
    run(plan)
    _close(_seconds(Path(plan.destination)), _seconds(clip.path), ms=False)


def test_start_offset_in_fine_ticks_is_exact_in_mp4(tmp_path: Path) -> None:
    pts = [129750 + i * 3754 for i in range(6)]
    clip = make_clip(tmp_path / "in.ts", frames=6, time_base=Fraction(1, 90000), pts=pts)
    times = _seconds(clip.path)
    out = tmp_path / "out.mp4"
    run(write_plan(clip.path, out, options={"preset": "medium"}))
    _close(_seconds(out), times, ms=False)


def test_time_shift_moves_a_negative_start_to_zero(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=5, audio="pcm_s16le")
    tick = Fraction(1, 1001)
    plan = write_plan(clip.path, tmp_path / "out.mp4", time_shift=Fraction(2, 7))
    early = replace(plan, video=replace(plan.video, time_base=tick))

    def items(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, FrameBatch):
                item = replace(item, pts=(item.first_index * 30 - 286,), time_base=tick)
            yield item

    run(early, items)
    want = [(i * 30 - 286) * tick + Fraction(2, 7) for i in range(5)]
    assert want[0] == 0
    _close(_seconds(tmp_path / "out.mp4"), want, ms=False)
    with av.open(str(tmp_path / "out.mp4")) as file:
        first = next(p for p in file.demux(audio=0) if p.size)
        assert first.pts * first.time_base == pytest.approx(2 / 7, abs=1 / 20_000)


def test_frames_below_zero_are_an_error(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    plan = write_plan(clip.path, tmp_path / "out.mp4", time_shift=Fraction(-1))
    with pytest.raises(EncodeError, match="before time zero"):
        run(plan)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


@given(
    steps=st.lists(st.integers(1, 3000), min_size=0, max_size=12),
    start=st.integers(0, 50_000),
    denominator=st.sampled_from([600, 1000, 15360, 24000, 90000]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_any_times_come_back(
    steps: list[int], start: int, denominator: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("times")
    pts = [start]
    for step in steps:
        pts.append(pts[-1] + step)
    tick = Fraction(1, denominator)
    clip = make_clip(folder / "in.mp4", width=16, height=16, frames=len(pts), time_base=tick,
                     pts=pts)  # fmt: skip
    # What the made file itself has is what must come back: its edit list may round the start.
    times = _seconds(clip.path)
    for box in ("mp4", "mkv"):
        if box == "mkv" and min(steps, default=3000) * tick < Fraction(1, 1000):
            continue
        out = folder / f"out.{box}"
        run(write_plan(clip.path, out, options={"preset": "veryfast", "bf": "2"}))
        _close(_seconds(out), times, ms=box == "mkv")


def test_one_frame(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=1)
    for box in ("mp4", "mkv"):
        assert run(write_plan(clip.path, tmp_path / f"out.{box}", codec="hevc")).frames == 1


def test_no_frame_is_an_error(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=1)
    with pytest.raises(OutputError, match="no frame"):
        run(write_plan(clip.path, tmp_path / "out.mp4"), lambda _: iter(()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
def test_rotation_flip_and_pixel_shape(box: str, tmp_path: Path) -> None:
    turned = (0, 1 << 16, 0, 1 << 16, 0, 0, 0, 0, 1 << 30)  # a quarter turn and a mirror
    clip = make_clip(tmp_path / "in.mp4", frames=2, sar=Fraction(64, 45), display_matrix=turned)
    plan = write_plan(clip.path, tmp_path / f"out.{box}")
    assert plan.video.display_matrix == turned
    run(plan)
    video = probe(plan.destination).videos[0]
    assert (video.display_matrix, video.sar) == (turned, Fraction(64, 45))


@pytest.mark.parametrize(
    ("turn", "moved"),
    [
        ((0, 1 << 16, 0, -(1 << 16), 0, 0), (48 << 16, 0)),  # a quarter turn, back into view
        ((1 << 16, 0, 0, 0, 1 << 16, 0), (10 << 16, -(5 << 15))),
        ((-(1 << 16), 0, 0, 0, -(1 << 16), 0), (64 << 16, 48 << 16)),
        ((1 << 16, 0, 0, 0, 1 << 16, 0), ((1 << 31) - 1, -(1 << 31))),  # nonsense, and the largest
    ],
)
def test_what_the_display_matrix_moves_by_grows_with_the_picture(
    turn: tuple[int, ...], moved: tuple[int, int], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2, display_matrix=(*turn, *moved, 1 << 30))
    plan = write_plan(clip.path, tmp_path / "out.mp4")
    assert plan.width == 2 * clip.width
    run(plan)
    x, y = (max(-(1 << 31), min((1 << 31) - 1, 2 * pixels)) for pixels in moved)
    assert probe(plan.destination).videos[0].display_matrix == (*turn, x, y, 1 << 30)


@pytest.mark.parametrize(
    ("codec", "box"),
    [(row.name, box) for row in CODECS.values() if not row.hardware for box in row.containers],
)
def test_colour_tags(codec: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    tags = Color(Matrix.BT470BG, Primaries.BT470BG, Transfer.SMPTE170M, ColorRange.LIMITED)
    plan = write_plan(clip.path, tmp_path / f"out.{box}", codec=codec, tags=tags)
    run(plan)
    with av.open(plan.destination) as file:
        context = file.streams.video[0].codec_context
        frame = next(file.decode(video=0))
    have = (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)
    assert have == (5, 5, 6, 1)
    assert context.color_primaries == 5


@pytest.mark.parametrize("box", ["mp4", "mkv"])
def test_full_range_and_chroma_site(box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    tags = Color(Matrix.BT709, Primaries.BT709, Transfer.BT709, ColorRange.FULL, ChromaSite.TOPLEFT)
    plan = write_plan(clip.path, tmp_path / f"out.{box}", tags=tags)
    run(plan)
    assert "(pc, bt709, progressive, topleft)" in ffmpeg_log(Path(plan.destination))


@pytest.mark.parametrize(
    ("codec", "box"),
    [
        *(("hevc", box) for box in ("mp4", "mov", "mkv")),
        *(("h264", box) for box in ("mp4", "mkv")),
        *(("av1", box) for box in ("mp4", "mkv", "webm")),
        *(("ffv1", box) for box in ("mkv", "mp4")),
        *(("prores", box) for box in ("mov", "mkv")),
    ],
)
def test_hdr10_metadata_in_container_and_stream(codec: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3)
    fmt = "yuv422p10le" if codec == "prores" else "yuv420p10le"
    out = tmp_path / f"out.{box}"
    run(write_plan(clip.path, out, codec=codec, pix_fmt=fmt, tags=_PQ, hdr=_HDR))
    with av.open(str(out)) as file:
        frame = next(file.decode(video=0))
        light = struct.unpack("=2I", bytes(frame.side_data[SideDataType.CONTENT_LIGHT_LEVEL])[:8])
    assert light == (1000, 400)
    found = probe(str(out)).videos[0].hdr
    assert found is not None
    assert found.primaries is not None
    for have, want in zip(found.primaries, _HDR.primaries or (), strict=True):
        assert [float(v) for v in have] == pytest.approx([float(v) for v in want], abs=1e-4)
    assert float(found.max_luminance or 0) == pytest.approx(1000)
    assert float(found.min_luminance or 0) == pytest.approx(0.005, abs=1e-4)
    text = ffmpeg_log(out)
    assert "Mastering display metadata" in text
    assert "MaxCLL=1000" in text
    if codec in {"hevc", "h264", "av1"}:
        # The bare bitstream has it too.
        bare = tmp_path / {"hevc": "x.hevc", "h264": "x.h264", "av1": "x.obu"}[codec]
        ffmpeg("-i", str(out), "-c", "copy", str(bare))
        with av.open(str(bare)) as file:
            kinds = set(next(file.decode(video=0)).side_data.keys())
        assert {d.type for d in kinds} >= {
            SideDataType.MASTERING_DISPLAY_METADATA,
            SideDataType.CONTENT_LIGHT_LEVEL,
        }


def test_hevc_is_tagged_for_apple(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    for box in ("mp4", "mov"):
        run(write_plan(clip.path, tmp_path / f"out.{box}", codec="hevc"))
        with av.open(str(tmp_path / f"out.{box}")) as file:
            assert file.streams.video[0].codec_context.codec_tag == "hvc1"


def test_group_of_pictures(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=24)
    for codec in ("h264", "hevc", "av1", "vp9"):
        out = tmp_path / f"{codec}.mkv"
        run(write_plan(clip.path, out, codec=codec, gop=8))
        with av.open(str(out)) as file:
            keys = [p.pts // 40 for p in file.demux(video=0) if p.size and p.is_keyframe]
        assert keys[0] == 0, codec
        assert max(b - a for a, b in pairwise([*keys, 24])) <= 8, codec


def test_planes_with_padding_and_batches(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec="ffv1", width=34, height=26, frames=5)

    def items(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        frames = [item for item in read(plan) if isinstance(item, FrameBatch)]
        planes = tuple(torch.cat([f.planes[p] for f in frames]) for p in range(3))
        yield replace(
            frames[0],
            planes=planes,
            pts=tuple(f.pts[0] for f in frames),
            durations=(0,) * len(frames),
        )

    plan = write_plan(clip.path, tmp_path / "out.mkv", codec="ffv1", scale=1)
    assert run(plan, items).frames == 5
    assert decode_frames(tmp_path / "out.mkv").hashes == decode_frames(clip.path).hashes


def test_encoder_threads_and_changed_settings(tmp_path: Path) -> None:
    clip: Clip = make_clip(tmp_path / "in.mp4", frames=3)
    plan = changed(write_plan(clip.path, tmp_path / "out.mp4"), threads=1)
    assert run(plan).frames == 3
    assert pixel_format(plan.encode.format.name) == plan.encode.format


def test_pictures_are_not_cut_into_slices(tmp_path: Path) -> None:
    """Slices cost bits: what is predicted from the neighbours starts anew in each."""
    clip: Clip = make_clip(tmp_path / "in.mp4", width=128, height=256, frames=5)
    out = tmp_path / "out.mp4"
    run(changed(write_plan(clip.path, out, codec="h264"), threads=4))
    with av.open(str(out)) as file:
        packets = [bytes(p) for p in file.demux(video=0) if p.size]
    assert [_slices(p) for p in packets] == [1] * 5


def _slices(packet: bytes) -> int:
    """How many units of a picture's samples an mp4 packet holds (ITU-T H.264, table 7-1)."""
    kinds, at = [], 0
    while at < len(packet):
        (size,) = struct.unpack_from(">I", packet, at)
        kinds.append(packet[at + 4] & 31)
        at += 4 + size
    return sum(kind in (1, 5) for kind in kinds)
