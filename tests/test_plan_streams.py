"""What happens to the streams beside the video."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from media_factory import CONTAINERS, chapter, media, plan_for, stream, video

from vsr.plan.notes import Notes
from vsr.plan.streams import plan_streams

COVER = {"dispositions": ("attached_pic",)}


@pytest.mark.parametrize(
    ("kind", "codec", "container", "action", "target", "lost"),
    [
        ("audio", "aac", "mp4", "copy", "aac", False),
        ("audio", "opus", "mp4", "convert", "aac", True),
        ("audio", "opus", "mov", "drop", "", True),
        ("audio", "unknown", "mp4", "drop", "", True),
        ("audio", "anything", "mkv", "copy", "anything", False),
        ("audio", "aac", "webm", "convert", "libopus", True),
        ("subtitle", "mov_text", "mp4", "copy", "mov_text", False),
        ("subtitle", "subrip", "mp4", "convert", "mov_text", False),
        ("subtitle", "ass", "mp4", "convert", "mov_text", True),
        ("subtitle", "mov_text", "mkv", "convert", "ass", False),
        ("subtitle", "hdmv_pgs_subtitle", "mkv", "copy", "hdmv_pgs_subtitle", False),
        ("subtitle", "hdmv_pgs_subtitle", "mp4", "drop", "", True),
        ("subtitle", "subrip", "mov", "drop", "", True),
        ("attachment", "ttf", "mkv", "attach", "ttf", False),
        ("attachment", "ttf", "mp4", "drop", "", True),
        ("cover", "mjpeg", "mp4", "copy", "mjpeg", False),
        ("cover", "webp", "mp4", "drop", "", True),
        ("cover", "mjpeg", "mkv", "attach", "mjpeg", False),
        ("cover", "mjpeg", "webm", "drop", "", True),
        ("data", "klv", "mov", "copy", "klv", False),
        ("data", "klv", "mkv", "drop", "", True),
        ("data", "unknown", "mp4", "drop", "", True),
    ],
)
def test_fates(kind: Any, codec: str, container: str, action: str, target: str, lost: bool) -> None:
    other = video(1, codec=codec, **COVER) if kind == "cover" else stream(1, kind, codec)
    plan = plan_for(media(video(), other), f"o.{container}")
    (fate,) = plan.streams
    assert (fate.action, fate.codec) == (action, target)
    assert bool(plan.given_up) == lost
    if action in ("drop", "convert"):
        assert fate.why


def test_given_up_streams_are_named_with_a_remedy() -> None:
    pgs = stream(1, "subtitle", "hdmv_pgs_subtitle", metadata=(("language", "jpn"),))
    font = stream(2, "attachment", "ttf", metadata=(("filename", "a.ttf"),))
    assert plan_for(media(video(), pgs, font)).given_up == (
        "stream 1 (subtitle, hdmv_pgs_subtitle, jpn): .mp4 holds no hdmv_pgs_subtitle subtitles. "
        "Use .mkv.",
        "stream 2 (attachment, ttf, a.ttf): .mp4 holds no attachments. Use .mkv.",
    )


def test_lossless_audio_conversion_gives_nothing_up() -> None:
    spec = CONTAINERS["mkv"]
    assert spec.audio_fallback == "flac"
    # The small table's .mkv takes any audio, so ask the step itself with a pickier row.
    main, notes = video(), Notes()
    info = media(main, stream(1, "audio", "pcm_s24be"))
    (fate,) = plan_streams(info, main, replace(spec, audio=("aac",)), notes)
    assert (fate.action, fate.codec, notes.given_up) == ("convert", "flac", [])


def test_timecode_and_chapter_tracks_are_made_anew() -> None:
    timecode = stream(1, "data", "unknown", metadata=(("timecode", "01:00:00:00"),))
    titles = stream(2, "data", "bin_data", metadata=(("handler_name", "SubtitleHandler"),))
    gps = stream(3, "data", "bin_data", metadata=(("handler_name", "GoPro MET"),))
    info = media(video(), timecode, titles, gps, chapters=(chapter(),))
    plan = plan_for(info)
    assert [a.action for a in plan.streams] == ["drop", "drop", "drop"]
    assert "timecode" in plan.streams[0].why
    assert "chapters are written anew" in plan.streams[1].why
    (lost,) = plan.given_up
    assert "GoPro MET" in lost
    assert plan.chapters


def test_chapters_without_a_place_are_given_up() -> None:
    plan = plan_for(media(chapters=(chapter(),)), "o.webm")
    assert not plan.chapters
    assert plan.given_up == ("chapters: .webm holds none. Use .mkv.",)


def test_cover_art_in_mp4_costs_the_tags_without_a_box() -> None:
    cover = video(1, codec="png", dispositions=("attached_pic",))
    tags = (("title", "T"), ("MAJOR_BRAND", "isom"), ("mood", "good"))
    with_cover = plan_for(media(video(), cover, metadata=tags))
    assert any("tags mood:" in sentence for sentence in with_cover.given_up)
    without = plan_for(media(video(), metadata=tags))
    assert without.given_up == ()
    assert "use_metadata_tags" in str(without.container_options)
