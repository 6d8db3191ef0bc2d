"""Text subtitles from one form into another: same words, same times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from plan_factory import read, run, write_plan
from synth import Subtitle, make_clip

from pipelines.upscale import upscale
from vsr.types import FrameBatch, Plan, SidePacket, StreamAction

_MS = Fraction(1, 1000)
_LINES = (
    Subtitle(100 * _MS, 233 * _MS, "Hello"),
    Subtitle(301 * _MS, 460 * _MS, r"Two\Nlines, with commas"),
    Subtitle(460 * _MS, 475 * _MS, "Grüße — 你好"),
)


def _read(path: Path) -> list[tuple[int, int, str]]:
    """Start and end in ms and text, as a decoder gives them."""
    found = []
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        for packet in file.demux(stream):
            if packet.size == 0 or packet.pts is None:
                continue
            for rect in stream.codec_context.decode2(packet) or ():
                text = rect.dialogue.decode()
                if text:
                    start = round(packet.pts * packet.time_base / _MS)
                    length = round(packet.duration * packet.time_base / _MS)
                    found.append((start, start + length, text))
    return found


def _expected(lines: tuple[Subtitle, ...]) -> list[tuple[int, int, str]]:
    return [
        (int(line.start / _MS), int(line.end / _MS), line.text.replace(r"\N", "\n"))
        for line in lines
    ]


def _convert(source: Path, target: Path, codec: str) -> Plan:
    plan = write_plan(source, target, codec="vp9" if target.suffix == ".webm" else "h264")
    actions = {
        a.stream.index: StreamAction(a.stream, "convert", codec)
        for a in plan.streams
        if a.stream.kind == "subtitle"
    }
    return write_plan(
        source, target, codec="vp9" if target.suffix == ".webm" else "h264", actions=actions
    )


@pytest.mark.parametrize(
    ("source", "box", "target"),
    [
        ("mov_text", "mkv", "subrip"),
        ("mov_text", "mkv", "ass"),
        ("mov_text", "webm", "webvtt"),
        ("srt", "mp4", "mov_text"),
        ("srt", "mov", "mov_text"),
        ("srt", "mkv", "ass"),
        ("srt", "webm", "webvtt"),
        ("ass", "mp4", "mov_text"),
        ("ass", "mkv", "subrip"),
        ("ass", "webm", "webvtt"),
        ("webvtt", "mp4", "mov_text"),
        ("webvtt", "mkv", "subrip"),
    ],
)
def test_words_and_times_survive(source: str, box: str, target: str, tmp_path: Path) -> None:
    name = "in.mp4" if source == "mov_text" else "in.mkv"
    clip = make_clip(tmp_path / name, subtitles=_LINES, subtitle_codec=source)
    assert _read(clip.path) == _expected(_LINES)
    out = tmp_path / f"out.{box}"
    plan = _convert(clip.path, out, target)
    assert run(plan).warnings == ()
    assert _read(out) == _expected(_LINES)
    with av.open(str(out)) as file:
        stream = file.streams.subtitles[0]
        assert stream.codec.canonical_name == target
        assert stream.language == "eng"


def test_there_and_back_again(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", subtitles=_LINES)
    run(_convert(clip.path, tmp_path / "a.mp4", "mov_text"))
    run(_convert(tmp_path / "a.mp4", tmp_path / "b.mkv", "subrip"))
    assert _read(tmp_path / "b.mkv") == _expected(_LINES)


def test_styling_goes_as_far_as_the_target_does(tmp_path: Path) -> None:
    lines = (Subtitle(100 * _MS, 300 * _MS, r"{\i1}slanted{\i0} and {\b1}fat{\b0}"),)
    clip = make_clip(tmp_path / "in.mkv", subtitles=lines, subtitle_codec="ass")
    run(_convert(clip.path, tmp_path / "a.mkv", "subrip"))
    with av.open(str(tmp_path / "a.mkv")) as file:
        packet = next(p for p in file.demux(subtitles=0) if p.size)
        assert bytes(packet) == b"<i>slanted</i> and <b>fat</b>"
    run(_convert(clip.path, tmp_path / "b.mp4", "mov_text"))
    run(_convert(tmp_path / "b.mp4", tmp_path / "c.mkv", "subrip"))
    with av.open(str(tmp_path / "c.mkv")) as file:
        packet = next(p for p in file.demux(subtitles=0) if p.size)
        assert bytes(packet) == b"<i>slanted</i> and <b>fat</b>"


def test_texts_that_overlap_are_shown_together_in_mp4(tmp_path: Path) -> None:
    lines = (
        Subtitle(50 * _MS, 300 * _MS, "A"),
        Subtitle(100 * _MS, 200 * _MS, "B"),
        Subtitle(150 * _MS, 400 * _MS, "C"),
        Subtitle(420 * _MS, 450 * _MS, "D"),
    )
    clip = make_clip(tmp_path / "in.mkv", subtitles=lines)
    run(_convert(clip.path, tmp_path / "out.mp4", "mov_text"))
    assert _read(tmp_path / "out.mp4") == [
        (50, 100, "A"),
        (100, 150, "A\nB"),
        (150, 200, "A\nB\nC"),
        (200, 300, "A\nC"),
        (300, 400, "C"),
        (420, 450, "D"),
    ]
    run(_convert(clip.path, tmp_path / "out.mkv", "ass"))
    assert _read(tmp_path / "out.mkv") == _expected(lines)


def test_time_shift(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", subtitles=_LINES)
    plan = write_plan(clip.path, tmp_path / "out.mp4", time_shift=Fraction(3, 2))
    run(plan)
    assert _read(tmp_path / "out.mp4") == [(a + 1500, b + 1500, t) for a, b, t in _expected(_LINES)]


def test_texts_out_of_order_are_moved_and_said(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", subtitles=_LINES[:2])

    def swapped(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        texts = []
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.size:
                texts.append(item)
            else:
                yield item
        yield from reversed(texts)

    plan = _convert(clip.path, tmp_path / "out.webm", "webvtt")
    (warning,) = run(plan, swapped).warnings
    assert "1 texts of subtitle stream 1 begin later" in warning
    assert [t for _, _, t in _read(tmp_path / "out.webm")] == ["Two\nlines, with commas", "Hello"]


def test_copied_texts_of_mp4_have_their_pauses_once(tmp_path: Path) -> None:
    def samples(path: Path) -> list[tuple[Fraction, Fraction, bytes]]:
        with av.open(str(path)) as file:
            return [
                (p.pts * p.time_base, p.duration * p.time_base, bytes(p))
                for p in file.demux(subtitles=0)
                if p.size and p.pts is not None and p.duration is not None
            ]

    clip = make_clip(tmp_path / "in.mp4", subtitles=_LINES, subtitle_codec="mov_text")
    old = samples(clip.path)
    assert [len(data) > 2 for _, _, data in old] == [False, True, False, True, False, True]
    plan = write_plan(clip.path, tmp_path / "out.mp4")
    assert plan.streams[0].action == "copy"
    run(plan)
    assert samples(tmp_path / "out.mp4") == old


@pytest.mark.parametrize(
    ("box", "target"), [("mkv", "subrip"), ("mkv", "ass"), ("mp4", "mov_text")]
)
def test_a_text_shown_at_the_beginning_of_a_part(box: str, target: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", subtitles=_LINES)
    plan = _convert(clip.path, tmp_path / f"out.{box}", target)
    if target == "subrip":
        plan = write_plan(clip.path, tmp_path / f"out.{box}")
        assert plan.streams[0].action == "copy"
    plan = replace(plan, time_shift=Fraction(-320, 1000))

    def part(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) or item.first_index >= 8:
                yield item

    assert run(plan, part).warnings == ()
    assert _read(tmp_path / f"out.{box}") == [
        (0, 140, "Two\nlines, with commas"),
        (140, 155, "Grüße — 你好"),
    ]


def _without_lengths(path: Path, lines: tuple[Subtitle, ...], *wanted: str) -> Path:
    """A clip whose ``wanted`` texts do not say how long they are shown."""
    clip = make_clip(path.with_name(f"timed-{path.name}"), subtitles=lines)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        streams = [new.add_stream_from_template(s, opaque=True) for s in old.streams]
        for packet in old.demux():
            if packet.size:
                if bytes(packet).decode(errors="ignore") in wanted:
                    packet.duration = 0
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return path


def test_texts_without_an_end_are_shown_until_the_next_in_mp4(tmp_path: Path) -> None:
    lines = (
        Subtitle(50 * _MS, 400 * _MS, "A"),
        Subtitle(100 * _MS, 110 * _MS, "B"),
        Subtitle(100 * _MS, 110 * _MS, "C"),
        Subtitle(300 * _MS, 350 * _MS, "D"),
        Subtitle(420 * _MS, 450 * _MS, "E"),
    )
    source = _without_lengths(tmp_path / "in.mkv", lines, "B", "C", "E")
    assert [(a, b) for a, b, t in _read(source) if t in "BCE"] == [(100, 100)] * 2 + [(420, 420)]
    for box in ("mp4", "mov"):
        out = tmp_path / f"out.{box}"
        (warning,) = run(_convert(source, out, "mov_text")).warnings
        assert "3 texts of subtitle stream 1" in warning
        assert "until the next begins, the last for 5 s" in warning
        assert _read(out) == [
            (50, 100, "A"),
            (100, 300, "A\nB\nC"),
            (300, 350, "A\nD"),
            (350, 400, "A"),
            (420, 5420, "E"),
        ]
    (warning,) = run(_convert(source, tmp_path / "out.webm", "webvtt")).warnings
    assert warning.endswith("how long they are shown.")
    assert [(a, t) for a, _, t in _read(tmp_path / "out.webm")] == [
        (50, "A"), (100, "B"), (100, "C"), (300, "D"), (420, "E"),
    ]  # fmt: skip


def test_a_text_without_an_end_from_before_a_part(tmp_path: Path) -> None:
    source = _without_lengths(tmp_path / "in.mkv", _LINES[:2], "Hello")
    plan = _convert(source, tmp_path / "out.mp4", "mov_text")

    def part(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) or item.first_index >= 5:
                yield item

    run(replace(plan, time_shift=Fraction(-200, 1000)), part)
    assert _read(tmp_path / "out.mp4") == [
        (0, 101, "Hello"),
        (101, 260, "Two\nlines, with commas"),
    ]


@pytest.mark.parametrize("target", ["subrip", "webvtt"])
def test_texts_of_a_single_letter(target: str, tmp_path: Path) -> None:
    lines = (Subtitle(100 * _MS, 300 * _MS, "I"), Subtitle(300 * _MS, 400 * _MS, "OK"))
    clip = make_clip(tmp_path / "in.mkv", subtitles=lines, subtitle_codec="ass")
    out = tmp_path / ("out.mkv" if target == "subrip" else "out.webm")
    run(_convert(clip.path, out, target))
    assert _read(out) == _expected(lines)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_text_ends_with_so_many_frames(suffix: str, resume: bool, tmp_path: Path) -> None:
    lines = (Subtitle(80 * _MS, 200 * _MS, "short"), Subtitle(240 * _MS, 4000 * _MS, "long"))
    clip = make_clip(tmp_path / "in.mkv", subtitles=lines)
    out = tmp_path / f"out{suffix}"
    upscale(clip.path, out, 2, model="bicubic", frames=8, resume=resume)
    assert _read(out) == [(80, 200, "short"), (240, 320, "long")]


def test_a_text_goes_with_the_last_frame_that_decodes(tmp_path: Path) -> None:
    # Where fewer frames decode than packets promise, the part goes on behind the expected end.
    lines = (Subtitle(40 * _MS, 900 * _MS, "first"), Subtitle(360 * _MS, 700 * _MS, "late"))
    clip = make_clip(tmp_path / "in.mkv", subtitles=lines, options={"g": "1"})
    with av.open(str(clip.path)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    data = clip.path.read_bytes()
    for packet in packets[3:6]:
        data = data.replace(packet, bytes(len(packet)))
    clip.path.write_bytes(data)
    out = tmp_path / "out.mkv"
    report = upscale(clip.path, out, 2, model="bicubic", frames=8, resume=False)
    assert report.frames_out == 8
    texts = _read(out)
    assert [text for _, _, text in texts] == ["first", "late"]
    assert texts[1][1] - texts[1][0] == 340
