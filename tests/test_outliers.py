"""Single timestamps that are damaged get one between their neighbours; nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from independent import decode_frames
from synth import make_clip
from test_joined import STEP, read

import vsr
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.outliers import Outliers
from vsr.media.probe import probe
from vsr.media.read.part import Part, locate
from vsr.media.read.scan import scan_frames
from vsr.types import Trim

TICK = Fraction(1, 90000)
FRAMES = 40


@dataclass
class Packet:
    """As much of a packet as is looked at."""

    pts: int | None
    dts: int | None
    time_base: Fraction = TICK
    size: int = 1
    stream: Any = field(default_factory=lambda: SimpleNamespace(type="video", index=0))


def through(packets: list[Packet]) -> tuple[list[Packet], int]:
    outliers = Outliers()
    found: list[Any] = list(outliers.through(packets))  # type: ignore[type-var]
    return found, outliers.mended


def stream(steps: list[int], first: int = 0) -> list[int]:
    times = [first]
    for step in steps:
        times.append(times[-1] + step)
    return times


steps = st.lists(st.integers(1, 90000 * 20), min_size=2, max_size=9)
near = st.lists(st.integers(1, 44000), min_size=2, max_size=9)


@given(steps, st.integers(0, 1 << 33))
def test_times_that_grow_are_left_alone(gaps: list[int], first: int) -> None:
    times = stream(gaps, first)
    found, mended = through([Packet(t + 7200, t) for t in times])
    assert [(p.pts, p.dts) for p in found] == [(t + 7200, t) for t in times]
    assert mended == 0


@given(near, near, st.integers(0, 1 << 33), st.integers(0, 1 << 33))
def test_joined_recordings_are_left_alone(
    one: list[int], other: list[int], first: int, second: int
) -> None:
    a, b = stream(one, first), stream(other, second)
    if abs(b[0] - a[-1]) < 90000:
        return  # hardly told from one recording, and of no consequence
    found, mended = through([Packet(None, t) for t in a + b])
    assert [p.dts for p in found] == a + b
    assert mended == 0


@given(near, st.data())
def test_a_damaged_one_is_put_between_its_neighbours(gaps: list[int], data: st.DataObject) -> None:
    times = stream(gaps, 1 << 32)
    at = data.draw(st.integers(1, len(times) - 2))
    far = data.draw(st.integers(90000, 1 << 31)) * data.draw(st.sampled_from([1, -1]))
    wrong = times[at] + far
    if far > 0 and wrong < times[at + 1]:
        return
    packets = [Packet(t + 7200, t) for t in times]
    packets[at] = Packet(wrong + 7200, wrong)
    found, mended = through(packets)
    assert mended == 1
    assert [p.dts for i, p in enumerate(found) if i != at] == times[:at] + times[at + 1 :]
    dts, pts = found[at].dts, found[at].pts
    assert dts is not None
    assert times[at - 1] < dts < times[at + 1] or times[at + 1] - times[at - 1] == 1
    assert pts == dts + 7200


def test_half_a_pair_of_times_alone_is_damaged() -> None:
    def pairs(*found: Packet) -> list[tuple[int | None, int | None]]:
        return [(p.pts, p.dts) for p in found]

    good = [Packet(7200 + 3600 * i, 3600 * i) for i in range(5)]
    wanted = pairs(*good)
    for pts, dts in ((10**8, 7200), (14400, 10**8), (14400, -(10**8))):
        packets = [Packet(p.pts, p.dts) for p in good]
        packets[2] = Packet(pts, dts)
        found, mended = through(packets)
        assert pairs(*found) == wanted
        assert mended == 1


@pytest.mark.parametrize("seconds", [4, 45, 300])
def test_slow_frames_may_be_shown_long_after_they_are_decoded(seconds: int) -> None:
    step = seconds * 90000
    order = [0, 4, 2, 1, 3, 8, 6, 5, 7]  # three B-frames, one of which others refer to
    times = [((number + 2) * step, at * step) for at, number in enumerate(order)]
    found, mended = through([Packet(*pair) for pair in times])
    assert [(p.pts, p.dts) for p in found] == times
    assert mended == 0


def test_a_first_presentation_time_alone_is_damaged() -> None:
    found, mended = through([Packet(10**9, 0), *(Packet(7200 + t, t) for t in (3600, 7200))])
    assert [p.dts for p in found] == [0, 3600, 7200]
    assert found[0].pts == 0, "no other tells how long after it is decoded"
    assert mended == 1


def test_nothing_is_lost_where_reading_fails() -> None:
    outliers = Outliers()
    odd = Packet(10**8, 10**8)

    def failing() -> Any:
        yield Packet(0, 0)
        yield odd
        raise OSError

    read: list[Packet] = []
    with pytest.raises(OSError):
        read += outliers.through(failing())
    rest: list[Any] = list(outliers.through([Packet(7200, 7200)]))  # type: ignore[list-item]
    assert rest[0] is odd
    assert [p.dts for p in rest] == [3600, 7200]
    assert list(outliers.through([odd])) == [odd]  # type: ignore[list-item]


def damaged(data: bytes, kind: int, number: int, ticks: int) -> bytes:
    """Add to the timestamps of the ``number``th packet of a stream of a transport stream.

    They are 33 bits in five bytes (ISO/IEC 13818-1, 2.4.3.6).
    """
    out = bytearray(data)
    begins = [
        i
        for i in range(len(out) - 20)
        if out[i : i + 3] == b"\0\0\1" and out[i + 3] == kind and out[i + 7] & 0x80
    ]
    head = begins[number]
    for at in (head + 9, head + 14)[: 1 + bool(out[head + 7] & 0x40)]:
        b = out[at : at + 5]
        time = (b[0] >> 1 & 7) << 30 | b[1] << 22 | b[2] >> 1 << 15 | b[3] << 7 | b[4] >> 1
        time = (time + ticks) % (1 << 33)
        out[at : at + 5] = bytes(
            [
                b[0] & 0xF1 | time >> 29 & 0x0E,
                time >> 22 & 0xFF,
                time >> 14 & 0xFE | 1,
                time >> 7 & 0xFF,
                time << 1 & 0xFE | 1,
            ]
        )
    return bytes(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outliers") / "whole.ts"
    options = {"g": "10", "bf": "2"}
    make_clip(path, codec="libx264", frames=FRAMES, audio="aac", options=options)
    return path


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("number", [1, 17, 38])
def test_a_frame_s_time(whole: Path, tmp_path: Path, hours: int, number: int) -> None:
    path = tmp_path / "damaged.ts"
    path.write_bytes(damaged(whole.read_bytes(), 0xE0, number, hours * 3600 * 90000))
    with av.open(str(path)) as container:
        raw = [p.pts for p in container.demux(video=0) if p.size]
    assert max(raw) - min(raw) > 3600 * 90000, "it is damaged"
    pts, side, warnings = read(path)
    wanted, sound, _ = read(whole)
    assert pts == wanted
    assert [p.pts for p in side] == [p.pts for p in sound]
    assert any("One packet has a timestamp far from those before" in w for w in warnings)
    assert not any("begin anew" in w for w in warnings)


def test_sound_s_time(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.ts"
    path.write_bytes(damaged(whole.read_bytes(), 0xC0, 3, 3600 * 90000))
    pts, side, _ = read(path)
    wanted, sound, _ = read(whole)
    assert pts == wanted
    assert len(side) == len(sound)
    times = [p.pts for p in side]
    assert times == sorted(times)
    assert times[-1] == sound[-1].pts


def test_seeking_and_results(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.ts"
    path.write_bytes(damaged(whole.read_bytes(), 0xE0, 17, 3600 * 90000))
    scan = scan_frames(str(path), probe(str(path)).videos[0], Trim())
    assert scan.problem == "timestamps are damaged"
    assert any("far from those before" in note for note in scan.notes)
    assert locate(str(path), probe(str(path)).videos[0], Part(first=20, stop=25)) is None
    report = vsr.upscale(str(path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    assert report.frames_out == FRAMES
    assert any("far from those before" in warning for warning in report.warnings)
    times = decode_frames(tmp_path / "out.mkv").times
    assert {round(1000 * (b - a)) for a, b in pairwise(times)} == {40}
    cut = vsr.upscale(
        str(path), str(tmp_path / "cut.mkv"), model="bicubic", device="cpu", start=0.8, frames=10
    )
    assert cut.frames_out == 10


def test_steadiness(whole: Path) -> None:
    with av.open(str(whole)) as container:
        continuity = Continuity(container, 0)
        assert len([p for p in continuity.through(container.demux(video=0)) if p.size]) == FRAMES
        assert continuity.steady
    pts, _, _ = read(whole)
    assert [b - a for a, b in pairwise(pts)] == [STEP] * (FRAMES - 1)
