"""What files say of a stream: default, forced, for the hard of hearing, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from media_factory import media, stream, video
from plan_factory import run, write_plan
from synth import Subtitle, make_clip

from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.media.containers import CONTAINERS
from vsr.media.probe import probe
from vsr.plan.notes import Notes
from vsr.plan.streams import plan_streams
from vsr.types import Plan

_LINES = (Subtitle(Fraction(1, 10), Fraction(3, 10), "Hello"),)
# Those that need pictures or samples of their own kind.
_OTHER = {"attached_pic", "timed_thumbnails", "still_image", "dependent", "multilayer"}
_NAMES = [flag.name for flag in Disposition if flag.name not in _OTHER]


def _clip(path: Path) -> Path:
    return make_clip(path, frames=4, audio="aac", audio_tracks=2, subtitles=_LINES).path


def _marked(plan: Plan, marks: Mapping[int, tuple[str, ...]]) -> Plan:
    """The plan for a source whose streams have these dispositions and no others."""
    actions = (
        replace(a, stream=replace(a.stream, dispositions=marks.get(a.stream.index, ())))
        for a in plan.streams
    )
    shown = replace(plan.video, dispositions=marks.get(plan.video.index, ()))
    return replace(plan, video=shown, streams=tuple(actions), overwrite=True)


@pytest.mark.parametrize("box", CONTAINERS)
def test_the_table_says_what_survives(box: str, tmp_path: Path) -> None:
    source, out = _clip(tmp_path / "in.mkv"), tmp_path / f"out.{box}"
    plan = write_plan(source, out, codec="vp9" if box == "webm" else "h264")
    row = CONTAINERS[box]
    for name in _NAMES:
        run(_marked(plan, dict.fromkeys(range(4), (name,))))
        for info in probe(str(out)).streams:
            holds = (*(row.dispositions or ()), *row.text_dispositions * (info.kind == "subtitle"))
            assert (name in info.dispositions) == (name in holds), (name, info.kind)


@pytest.mark.parametrize("box", CONTAINERS)
def test_subtitles_that_are_off_stay_off(box: str, tmp_path: Path) -> None:
    source, out = _clip(tmp_path / "in.mkv"), tmp_path / f"out.{box}"
    run(_marked(write_plan(source, out, codec="vp9" if box == "webm" else "h264"), {}))
    (text,) = probe(str(out)).of_kind("subtitle")
    assert "default" not in text.dispositions


@pytest.mark.parametrize(("codec", "box"), [("ass", "mkv"), ("webvtt", "mkv"), ("webvtt", "webm")])
def test_marks_of_copied_subtitles(codec: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", subtitles=_LINES, subtitle_codec=codec)
    out = tmp_path / f"out.{box}"
    plan = write_plan(clip.path, out, codec="vp9" if box == "webm" else "h264")
    assert plan.streams[0].action == "copy"
    row = CONTAINERS[box]
    for name in (*(row.dispositions or ()), *row.text_dispositions):
        run(_marked(plan, {1: (name,)}))
        assert name in probe(str(out)).streams[1].dispositions


def _source(path: Path, marks: Mapping[int, Disposition]) -> Path:
    """A clip with pictures, two sounds and two texts, of which only ``marks`` are marked."""
    plain = _clip(path.with_name("plain.mkv"))
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        streams: list[Any] = []
        for index in (0, 1, 2, 3, 3):
            streams.append(new.add_stream_from_template(old.streams[index], opaque=True))
            streams[-1].disposition = marks.get(len(streams) - 1, Disposition(0))
        for packet in old.demux():
            if packet.size:
                again = av.Packet(bytes(packet)) if packet.stream_index == 3 else None
                packet.stream = streams[packet.stream_index]
                if again is not None:
                    again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
                    again.time_base, again.stream = packet.time_base, streams[4]
                new.mux(packet)
                if again is not None:
                    new.mux(again)
    return path


_D = Disposition
_MARKS = {1: _D.hearing_impaired | _D.original, 2: _D.default | _D.comment, 3: _D.forced}
_AUDIO, _TEXT = "stream 1 (audio, aac)", "stream 3 (subtitle, subrip)"


@pytest.mark.parametrize(("box", "told"), [
    ("mkv", ()),
    ("mov", (
        f"{_AUDIO}: .mov cannot mark it as hearing_impaired, original. Use .mkv.",
        "stream 2 (audio, aac): .mov cannot mark it as comment. Use .mkv.",
        f"{_TEXT}: .mov cannot mark it as forced. Use .mkv.",
    )),
    ("mp4", (
        f"{_AUDIO}: .mp4 cannot mark it as original. Use .mkv.",
    )),
    ("webm", (
        f"{_AUDIO}: .webm cannot mark it as hearing_impaired, original. Use .mkv.",
        "stream 2 (audio, aac): .webm cannot mark it as comment. Use .mkv.",
    )),
])  # fmt: skip
def test_what_the_container_cannot_say_is_named(
    box: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    source, out = _source(tmp_path / "in.mkv", _MARKS), tmp_path / f"out.{box}"
    report = upscale(source, out, 2, model="bicubic", overwrite=True)
    assert tuple(s for s in report.given_up if "re-encoded" not in s) == told
    # What is not named is there, and nothing else is.
    for old, new in zip(probe(str(source)).streams, probe(str(out)).streams, strict=True):
        gone = [s for s in told if s.startswith(f"stream {old.index} ")]
        kept = {name for name in old.dispositions if not any(name in s for s in gone)}
        assert kept <= set(new.dispositions)
        if old.kind == "subtitle":
            assert "default" not in new.dispositions
    if told:
        with pytest.raises(StrictError, match="cannot mark it as"):
            upscale(source, out, 2, model="bicubic", strict=True, overwrite=True)


def test_subtitles_stay_off_where_others_are_on(tmp_path: Path) -> None:
    source, out = _source(tmp_path / "in.mkv", {4: Disposition.default}), tmp_path / "out.mp4"
    assert upscale(source, out, 2, model="bicubic").given_up == ()
    texts = probe(str(out)).of_kind("subtitle")
    assert ["default" in text.dispositions for text in texts] == [False, True]


def test_subtitles_stay_off_where_only_those_left_behind_were_on(tmp_path: Path) -> None:
    source, out = _source(tmp_path / "in.mkv", {4: Disposition.default}), tmp_path / "out.mp4"
    plan = write_plan(source, out)
    *others, last = plan.streams
    assert last.stream.dispositions == ("default",)
    run(replace(plan, streams=(*others, replace(last, action="drop"))))
    (text,) = probe(str(out)).of_kind("subtitle")
    assert "default" not in text.dispositions


def _told(box: str, *marks: str, kind: Any = "audio", codec: str = "aac") -> list[str]:
    main, notes = video(), Notes()
    info = media(main, stream(1, kind, codec, dispositions=marks))
    plan_streams(info, main, CONTAINERS[box], notes, CONTAINERS["mkv"])
    return notes.given_up


def test_one_mark_that_readers_find_twice_is_no_loss() -> None:
    assert _told("mkv", "captions", "hearing_impaired") == []
    assert _told("mkv", "descriptions", "visual_impaired") == []
    assert _told("mkv", "descriptions", kind="subtitle", codec="subrip") == []


def test_hints_are_given_where_they_help() -> None:
    (sentence,) = _told("mkv", "captions")
    assert sentence == "stream 1 (audio, aac): .mkv cannot mark it as captions."
    (sentence,) = _told("mp4", "karaoke", "original")
    assert sentence == "stream 1 (audio, aac): .mp4 cannot mark it as karaoke, original."


def test_the_picture_is_marked_too() -> None:
    main, notes = video(dispositions=("default", "original")), Notes()
    assert plan_streams(media(main), main, CONTAINERS["mp4"], notes) == ()
    assert notes.given_up == ["stream 0 (video, h264): .mp4 cannot mark it as original. Use .mkv."]


def test_what_is_left_behind_needs_no_marks() -> None:
    (sentence,) = _told("mov", "forced", kind="subtitle", codec="hdmv_pgs_subtitle")
    assert "holds no hdmv_pgs_subtitle" in sentence
