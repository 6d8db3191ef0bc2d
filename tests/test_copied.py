"""Packets that are copied and that a muxer would lose, refuse, or take for something else."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from plan_factory import read, run, write_plan
from synth import Subtitle, make_clip

import vsr
from vsr.media.ebml import element
from vsr.media.write.copied.check import HeaderCheck, header_check
from vsr.media.write.template import _opened, dvd_subtitle_template
from vsr.types import FrameBatch, Plan, SidePacket

_MS = Fraction(1, 1000)
_TICK = Fraction(1, 90000)


def _packets(path: Path | str, kind: str = "audio") -> list[Any]:
    with av.open(str(path)) as file:
        return [p for p in file.demux() if p.stream.type == kind and p.size > 2]


def _times(path: Path | str, kind: str = "audio") -> list[float]:
    with av.open(str(path)) as file:
        packets = [p for p in file.demux() if p.stream.type == kind and p.size > 2]
        return [float(p.pts * p.time_base) for p in packets]


def _altered(
    alter: Callable[[int, Any], Any],
) -> Callable[[Plan], Iterator[FrameBatch | SidePacket]]:
    """Reads like ``read``; ``alter`` gets number and packet of each of the other streams."""

    def items(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        count = 0
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.size:
                item = SidePacket(item.stream, alter(count, item.packet))
                count += 1
            yield item

    return items


def _with_packets(path: Path, template: Any, packets: list[tuple[float, float, bytes]]) -> Path:
    """A clip of two seconds with a stream like ``template``: begin and length in s, data."""
    clip = make_clip(path.with_name("plain.mkv"), frames=50)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0], opaque=True)
        other = new.add_stream_from_template(template, opaque=True)
        new.start_encoding()
        ready: list[Any] = []
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = picture
                ready.append(packet)
        for begin, length, data in packets:
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = other, _TICK, True
            packet.pts = packet.dts = round(begin / _TICK)
            packet.duration = round(length / _TICK)
            ready.append(packet)
        for packet in sorted(ready, key=lambda p: p.dts * p.time_base):
            new.mux(packet)
    return path


def _lose(path: Path, number: int) -> Path:
    """Take the ``number``-th packet of the sound out of a transport stream."""
    data, pid = path.read_bytes(), 0x101
    kept, seen = b"", 0
    for at in range(0, len(data), 188):
        mine = (data[at + 1] & 0x1F) << 8 | data[at + 2] == pid
        seen += mine
        kept += b"" if mine and seen == number else data[at : at + 188]
    lossy = path.with_name("lossy.ts")
    lossy.write_bytes(kept)
    return lossy


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
def test_a_lost_packet_of_a_recording_with_aac(box: str, tmp_path: Path) -> None:
    source = _lose(make_clip(tmp_path / "in.ts", frames=50, audio="aac").path, 5)
    old = [bytes(p) for p in _packets(source)]
    bad = [data for data in old if not data.startswith(b"\xff\xf1")]
    assert bad
    (warning,) = run(write_plan(source, tmp_path / f"out.{box}")).warnings
    assert warning.startswith(f"{len(bad)} packets of audio stream 1 are so damaged that")
    new = [bytes(p) for p in _packets(tmp_path / f"out.{box}")]
    assert new == [data[7:] for data in old if data not in bad]


def test_a_lost_packet_of_a_recording_with_eac3(tmp_path: Path) -> None:
    """The first frame has the rest of the second behind it."""
    clip = make_clip(tmp_path / "in.ts", frames=50, audio="eac3").path
    whole = len(bytes(_packets(clip)[0]))
    source = _lose(clip, 3)
    old = [bytes(p) for p in _packets(source)]
    assert len(old[0]) > whole
    (warning,) = run(write_plan(source, tmp_path / "out.mp4")).warnings
    assert "1 packets of audio stream 1 are so damaged" in warning
    assert [bytes(p) for p in _packets(tmp_path / "out.mp4")] == old[1:]
    # Matroska asks nothing of it.
    assert run(write_plan(source, tmp_path / "out.mkv")).warnings == ()
    assert [bytes(p) for p in _packets(tmp_path / "out.mkv")] == old


def test_headers_of_eac3_are_checked(tmp_path: Path) -> None:
    def broken(number: int, packet: Any) -> Any:
        if number != 3:
            return packet
        fresh = av.Packet(b"\0" * 100)
        fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
        return fresh

    clip = make_clip(tmp_path / "in.mkv", frames=50, audio="eac3").path
    (warning,) = run(write_plan(clip, tmp_path / "out.mp4"), _altered(broken)).warnings
    assert "1 packets of audio stream 1 are so damaged" in warning
    assert len(_packets(tmp_path / "out.mp4")) == len(_packets(clip)) - 1


def test_aac_without_headers_is_taken_as_it_is(tmp_path: Path) -> None:
    """Until the first one comes; where the settings are in the file's header, always."""
    with av.open(str(make_clip(tmp_path / "in.mkv", audio="aac").path)) as file:
        assert header_check(file.streams[1], "aac", quicktime=True) is None
    path = make_clip(tmp_path / "in.ts", audio="aac").path
    good, bad = bytes(_packets(path)[0]), b"\x21" * 50
    with av.open(str(path)) as file:
        check = HeaderCheck("aac_adtstoasc", file.streams[1], sync=b"\xff")
        refused = [check.refuses(av.Packet(data)) for data in (bad, good, bad, good, good[:5])]
    assert refused == [False, False, True, False, True]


def _display(number: int, shown: bool) -> list[bytes]:
    """The segments of one picture of a Blu-ray's subtitles, or of none."""

    def segment(kind: int, data: bytes) -> bytes:
        return bytes([kind]) + struct.pack(">H", len(data)) + data

    begin = struct.pack(">HHBHBBBB", 64, 48, 0x10, number, 0x80 if shown else 0, 0, 0, shown)
    window = segment(0x17, struct.pack(">BBHHHH", 1, 0, 4, 4, 8, 8))
    if not shown:
        return [segment(0x16, begin), window, segment(0x80, b"")]
    begin += struct.pack(">HBBHH", 0, 0, 0, 4, 4)
    pixels = (b"\1" * 8 + b"\0\0") * 8
    head = struct.pack(">HBB", 0, 0, 0xC0) + struct.pack(">I", len(pixels) + 4)[1:]
    return [
        segment(0x16, begin), window, segment(0x14, bytes([0, 0, 1, 235, 128, 128, 255])),
        segment(0x15, head + struct.pack(">HH", 8, 8) + pixels), segment(0x80, b""),
    ]  # fmt: skip


def test_subtitles_of_a_blu_ray(tmp_path: Path) -> None:
    """Each segment is a packet there, and all of a picture are one in Matroska."""
    with _opened(element(0x83, 0x11) + element(0x86, "S_HDMV/PGS")) as stream:
        data = [
            (begin / 5, 0, part) for begin in range(1, 5) for part in _display(begin, begin % 2)
        ]
        source = _with_packets(tmp_path / "in.m2ts", stream, data)
    old = [bytes(p) for p in _packets(source, "subtitle")]
    assert len(old) == 16
    run(write_plan(source, tmp_path / "out.mkv"))
    new = [bytes(p) for p in _packets(tmp_path / "out.mkv", "subtitle")]
    assert len(new) == 4
    assert b"".join(new) == b"".join(old)


@pytest.mark.parametrize("box", ["mp4", "mov"])
def test_sound_that_runs_over_into_the_next_part(box: str, tmp_path: Path) -> None:
    """A tick of a transport stream is less than a sample."""

    def behind(number: int, packet: Any) -> Any:
        if number >= 10:
            packet.pts -= 12000
            packet.dts -= 12000
        return packet

    clip = make_clip(tmp_path / "in.ts", frames=50, audio="ac3").path
    (warning,) = run(write_plan(clip, tmp_path / f"out.{box}"), _altered(behind)).warnings
    assert "had times out of order and were moved" in warning
    assert [bytes(p) for p in _packets(tmp_path / f"out.{box}")] == [
        bytes(p) for p in _packets(clip)
    ]


@pytest.mark.parametrize("codec", ["alac", "aac"])
def test_sound_that_does_not_say_how_long_it_lasts(codec: str, tmp_path: Path) -> None:
    def lasting(_: int, packet: Any) -> Any:
        packet.duration = 0
        return packet

    clip = make_clip(tmp_path / "in.mkv", frames=50, audio=codec).path
    run(write_plan(clip, tmp_path / "out.mp4"), _altered(lasting))
    old, new = _packets(clip), _packets(tmp_path / "out.mp4")
    assert [bytes(p) for p in new] == [bytes(p) for p in old]
    # To the millisecond where nothing tells how much is in a packet.
    assert new[-1].duration == pytest.approx({"alac": 4096, "aac": 1024}[codec], abs=48)


@pytest.mark.parametrize("ticks", [0, 0xFFFFFFFF])
def test_subtitles_of_dvds_without_an_end(ticks: int, tmp_path: Path) -> None:
    def lasting(_: int, packet: Any) -> Any:
        packet.duration = ticks
        return packet

    # A length, and where the commands are: nothing else is looked at.
    data = b"\0\x0a\0\x04" + b"\0" * 6
    with dvd_subtitle_template(b"size: 720x480\n") as stream:
        source = _with_packets(tmp_path / "in.mkv", stream, [(0.2, 0.5, data), (1.0, 0.5, data)])
    run(write_plan(source, tmp_path / "out.mp4"), _altered(lasting))
    new = _packets(tmp_path / "out.mp4", "subtitle")
    assert [bytes(p) for p in new] == [data, data]
    assert _times(tmp_path / "out.mp4", "subtitle") == pytest.approx([0.2, 1.0])
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert new[-1].duration * file.streams[1].time_base == 5


def _flash(path: Path, *, longer: bool) -> Path:
    """A clip in which the settings of AAC come again in the middle."""
    clip = make_clip(path.with_name("plain.flv"), frames=50, audio="aac", codec="flv")
    data, at, again = clip.path.read_bytes(), 13, b""
    result = data[:at]
    while at < len(data):
        size, time = int.from_bytes(data[at + 1 : at + 4], "big"), data[at + 4 : at + 7]
        tag = data[at : at + 11 + size + 4]
        at += len(tag)
        if tag[0] == 8 and not tag[12]:
            config = tag[11 : 11 + size] + bytes(300) * longer
            head = b"\x08" + len(config).to_bytes(3, "big")
            again = head + b"TIM" + tag[7:11] + config + (11 + len(config)).to_bytes(4, "big")
        elif tag[0] == 8 and again and int.from_bytes(time, "big") > 1000:
            result += again.replace(b"TIM", time, 1)
            again = b""
        result += tag
    path.write_bytes(result)
    return path


@pytest.mark.parametrize("longer", [False, True])
def test_settings_that_come_again(longer: bool, tmp_path: Path) -> None:
    """FFmpeg's muxer writes them over the header, and what is too long over the next track."""
    source, out = _flash(tmp_path / "in.flv", longer=longer), tmp_path / "out.mkv"
    old = _packets(source)
    assert sum(p.has_sidedata("new_extradata") for p in old) == 1
    said = run(write_plan(source, out)).warnings
    assert ["settings of audio stream 0 change (1 times)" in text for text in said] == [
        True
    ] * longer
    assert [bytes(p) for p in _packets(out)] == [bytes(p) for p in old]
    with av.open(str(source)) as one, av.open(str(out)) as two:
        assert sorted(s.type for s in two.streams) == ["audio", "video"]
        first, second = (f.streams.audio[0].codec_context.extradata for f in (one, two))
        assert first == second


@pytest.mark.parametrize(("source", "box"), [("avi", "mov"), ("mov", "mp4"), ("mkv", "mp4")])
def test_pcm_that_is_cut_within_a_sample(source: str, box: str, tmp_path: Path) -> None:
    def cut(number: int, packet: Any) -> Any:
        if number != 4:
            return packet
        fresh = av.Packet(bytes(packet)[:-1])
        fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
        return fresh

    codec = "ffv1" if source == "avi" else "libx264"
    clip = make_clip(tmp_path / f"in.{source}", frames=10, audio="pcm_s16le", codec=codec).path
    old = [bytes(p) for p in _packets(clip)]
    (warning,) = run(write_plan(clip, tmp_path / f"out.{box}"), _altered(cut)).warnings
    assert "Audio stream 1 has packets (1) that end within a sample, which was cut off" in warning
    want = b"".join(data[:-4] if number == 4 else data for number, data in enumerate(old))
    assert b"".join(bytes(p) for p in _packets(tmp_path / f"out.{box}")) == want


@pytest.mark.parametrize("box", ["mkv", "mp4"])
def test_a_subtitle_ends_with_the_part(box: str, tmp_path: Path) -> None:
    lines = (
        Subtitle(Fraction(1, 5), Fraction(4, 5), "One"),
        Subtitle(Fraction(1), Fraction(60), "Two"),
    )
    clip = make_clip(tmp_path / "in.mkv", frames=50, subtitles=lines).path
    out = tmp_path / f"out.{box}"
    vsr.upscale(str(clip), str(out), scale=2, model="bicubic", start=0.4, end=1.6)
    packets = _packets(out, "subtitle")
    with av.open(str(out)) as file:
        tick = file.streams[1].time_base
        assert float(file.duration) / av.time_base == pytest.approx(1.2, abs=0.05)
    assert [float(p.pts * tick) for p in packets] == pytest.approx([0, 0.6], abs=0.002)
    assert [float(p.duration * tick) for p in packets] == pytest.approx([0.4, 0.6], abs=0.002)
