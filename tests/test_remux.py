"""What goes along: sound, subtitles, attachments, covers, chapters, tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from independent import packet_hashes
from plan_factory import read, run, write_plan
from synth import Subtitle, gradient_png, make_clip

from vsr.media.probe import probe
from vsr.media.write.writer import WriteResult
from vsr.types import FrameBatch, MediaInfo, Plan, SidePacket, StreamAction, Trim

_LINES = (
    Subtitle(Fraction(1, 10), Fraction(2, 10), "One"),
    Subtitle(Fraction(3, 10), Fraction(9, 20), "Two"),
)
_CHAPTERS = ((Fraction(0), Fraction(1, 5), "First"), (Fraction(1, 5), Fraction(12, 25), "Second"))


def _packets(path: Path | str, kind: str, number: int = 0) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        stream = [s for s in file.streams if s.type == kind][number]
        return [
            (Fraction(p.pts) * p.time_base, bytes(p))
            for p in file.demux(stream)
            if p.size and p.pts is not None
        ]


def _same_packets(source: Path, result: Path, number: int = 0, *, within: Fraction) -> None:
    old, new = _packets(source, "audio", number), _packets(result, "audio", number)
    assert [data for _, data in old] == [data for _, data in new]
    for (before, _), (after, _) in zip(old, new, strict=True):
        assert abs(before - after) <= within


def _tags(info: MediaInfo, index: int) -> dict[str, str]:
    return {key.lower(): value for key, value in info.streams[index].metadata}


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("source", ["mp4", "mkv", "mov"])
def test_sound_is_copied_byte_for_byte(source: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / f"in.{source}", frames=25, audio="aac", audio_tracks=2,
        audio_start=Fraction(1, 8),
    )  # fmt: skip
    out = tmp_path / f"out.{box}"
    assert run(write_plan(clip.path, out)).warnings == ()
    # Matroska's times are in ms, and so are those of anything that came through it.
    for number in (0, 1):
        _same_packets(clip.path, out, number, within=Fraction(1, 1000))
        assert packet_hashes(clip.path, f"a:{number}") == packet_hashes(out, f"a:{number}")


def test_pictures_are_not_moved_by_sound_that_begins_early(tmp_path: Path) -> None:
    """AAC in MP4 starts with a packet before zero; Matroska has no room there but a delay."""
    clip = make_clip(tmp_path / "in.mp4", frames=10, audio="aac")
    assert _packets(clip.path, "audio")[0][0] < 0
    out = tmp_path / "out.mkv"
    assert run(write_plan(clip.path, out)).warnings == ()
    with av.open(str(out)) as file:
        first = next(p for p in file.demux(video=0) if p.size)
        assert first.pts == 0
    _same_packets(clip.path, out, within=Fraction(1, 1000))
    # Decoded, the sound begins at the same time with the same samples.
    np.testing.assert_array_equal(_samples(out)[1][:2000], _samples(clip.path)[1][:2000])


def _samples(path: Path) -> tuple[Fraction, np.ndarray]:
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    start = Fraction(frames[0].pts) * frames[0].time_base
    return start, np.concatenate([f.to_ndarray()[0] for f in frames])


def test_raw_aac_of_transport_streams(tmp_path: Path) -> None:
    """ADTS headers go where the container keeps the settings itself; the rest is the same."""
    clip = make_clip(tmp_path / "in.ts", frames=10, audio="aac")
    for box in ("mp4", "mkv"):
        out = tmp_path / f"out.{box}"
        run(write_plan(clip.path, out))
        old = [data for _, data in _packets(clip.path, "audio")]
        assert old[0][:2] == b"\xff\xf1"
        assert [data for _, data in _packets(out, "audio")] == [data[7:] for data in old]


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
def test_uncompressed_sound(box: str, tmp_path: Path) -> None:
    for source in ("mkv", "mov", "avi"):
        name = tmp_path / f"in.{source}"
        clip = make_clip(name, frames=10, audio="pcm_s16le", codec="ffv1") if source == "avi" else (
            make_clip(name, frames=10, audio="pcm_s16le"))  # fmt: skip
        out = tmp_path / f"{source}.{box}"
        run(write_plan(clip.path, out))
        old, new = _packets(clip.path, "audio"), _packets(out, "audio")
        assert b"".join(d for _, d in old) == b"".join(d for _, d in new)


def test_sound_outlasting_the_picture_is_kept(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=3, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.mp4")

    def later(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.size:
                item.packet.pts += 5000
                item.packet.dts += 5000
            yield item

    run(plan, later)
    old, new = _packets(clip.path, "audio"), _packets(plan.destination, "audio")
    assert [d for _, d in old] == [d for _, d in new]
    for (before, _), (after, _) in zip(old, new, strict=True):
        assert float(after - before) == pytest.approx(5, abs=1e-3)


def test_sound_re_encoded_where_the_container_must(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mp4", frames=25, audio="aac", audio_start=Fraction(1, 4), pix_fmt="gray"
    )
    out = tmp_path / "out.webm"
    run(write_plan(clip.path, out, codec="vp9"))
    (old_start, old), (new_start, new) = _samples(clip.path), _samples(out)
    assert abs(old_start - new_start) <= Fraction(1, 1000)
    with av.open(str(out)) as file:
        assert file.streams.audio[0].codec.canonical_name == "opus"
    # The same tone at the same phase: the start is kept to the sample (10 ms in, past the fade).
    count = min(len(old), len(new)) - 2000
    a, b = old[480 : 480 + 9600], new[480 : 480 + 9600]
    assert count > 9600
    likeness = {lag: float((a * np.roll(b, lag))[100:-100].sum()) for lag in range(-40, 41)}
    best = max(likeness, key=likeness.__getitem__)
    assert abs(best) <= 24  # half a millisecond: WebM's tick
    assert float(np.abs(np.roll(b, best) - a)[100:-100].max()) < 0.05


def test_gaps_in_sound_become_silence(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=50, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.webm", codec="vp9")

    def holey(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.pts in range(500, 1000):
                continue
            yield item

    run(plan, holey)
    start, samples = _samples(Path(plan.destination))
    at = round((Fraction(3, 4) - start) * 48000)
    assert float(np.abs(samples[at - 4800 : at + 4800]).max()) < 1e-3
    end = round((Fraction(3, 2) - start) * 48000)
    assert float(np.abs(samples[end - 4800 : end]).max()) > 0.2
    assert len(samples) / 48000 == pytest.approx(2, abs=0.05)


def test_unreadable_sound_is_counted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=25, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.webm", codec="vp9")

    def broken(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        seen = 0
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.size:
                seen += 1
                if seen == 10:
                    packet = av.Packet(b"\xff" * 40)
                    packet.pts, packet.dts = item.packet.pts, item.packet.dts
                    packet.time_base = item.packet.time_base
                    item = SidePacket(item.stream, packet)
            yield item

    (warning,) = run(plan, broken).warnings
    assert "1 packets of audio stream 1 could not be decoded" in warning


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv", "webm"])
def test_chapters_and_tags(box: str, tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mkv", chapters=_CHAPTERS, metadata={"title": "A film", "artist": "Me"}
    )
    plan = write_plan(clip.path, tmp_path / f"out.{box}", codec="vp9" if box == "webm" else "h264")
    run(plan)
    info = probe(plan.destination)
    have = [(c.start * c.time_base, c.end * c.time_base, dict(c.metadata)) for c in info.chapters]
    assert have == [(a, b, {"title": t}) for a, b, t in _CHAPTERS]
    tags = {key.lower(): value for key, value in info.metadata}
    assert (tags["title"], tags["artist"]) == ("A film", "Me")


def test_chapters_of_a_trimmed_and_moved_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=12, chapters=_CHAPTERS)
    shift = Fraction(-3, 25)
    plan = write_plan(clip.path, tmp_path / "out.mkv", time_shift=shift)
    tick = plan.video.time_base
    trim = Trim(start=int(Fraction(3, 25) / tick), end=int(Fraction(10, 25) / tick))
    plan = replace(plan, trim=trim)

    def part(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, FrameBatch) and 3 <= item.first_index < 10:
                yield item

    run(plan, part)
    chapters = probe(plan.destination).chapters
    assert [(float(c.start * c.time_base), float(c.end * c.time_base)) for c in chapters] == [
        (0.0, 0.08), (0.08, 0.28)
    ]  # fmt: skip


@pytest.mark.parametrize("box", ["mp4", "mov", "mkv"])
def test_languages_titles_and_dispositions(box: str, tmp_path: Path) -> None:
    from av.stream import Disposition

    clip = make_clip(tmp_path / "in.mkv", audio="aac", audio_tracks=3)
    # A copy whose second sound is the default and whose third is a comment.
    source = tmp_path / "marked.mkv"
    with av.open(str(clip.path)) as old, av.open(str(source), "w") as new:
        streams: dict[int, Any] = {}
        for stream in old.streams:
            streams[stream.index] = new.add_stream_from_template(stream, opaque=True)
            streams[stream.index].metadata.update(stream.metadata)
        streams[0].metadata.update(title="Pictures", language="jpn")
        streams[2].disposition = Disposition.default
        streams[3].disposition = Disposition.comment
        streams[3].metadata["title"] = "Director"
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    plan = write_plan(source, tmp_path / f"out.{box}")
    run(plan)
    info = probe(plan.destination)
    key = "title" if box == "mkv" else "name"
    assert (_tags(info, 0)[key], info.streams[0].language) == ("Pictures", "jpn")
    assert _tags(info, 3)[key] == "Director"
    german = "ger" if box == "mov" else "deu"  # QuickTime has its own codes
    assert [s.language for s in info.streams[1:]] == ["eng", german, "fra"]
    assert [("default" in s.dispositions) for s in info.streams[1:]] == [False, True, False]
    if box == "mkv":
        assert "comment" in info.streams[3].dispositions


@pytest.mark.parametrize("source", ["mp4", "mkv"])
@pytest.mark.parametrize("box", ["mp4", "mkv"])
def test_cover_art(source: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"in.{source}", audio="aac", cover=True, chapters=_CHAPTERS)
    out = tmp_path / f"out.{box}"
    plan = write_plan(clip.path, out)
    assert any(a.stream.is_cover for a in plan.streams)
    run(plan)
    info = probe(str(out))
    (cover,) = [s for s in info.streams if s.is_cover]
    assert cover.codec == "png"
    with av.open(str(out)) as file:
        packet = next(p for p in file.demux(file.streams[cover.index]) if p.size)
        assert bytes(packet) == gradient_png()
    assert len(info.videos) == 1
    assert info.videos[0].frames == 12


def test_fonts_and_other_attachments(tmp_path: Path) -> None:
    files = {"a font.ttf": b"\x00\x01\x00\x00" + bytes(range(256)), "notes.txt": b"hello"}
    clip = make_clip(tmp_path / "in.mkv", attachments=files, audio="aac")
    out = tmp_path / "out.mkv"
    run(write_plan(clip.path, out))
    with av.open(str(out)) as file:
        have = {s.metadata["filename"]: s.data for s in file.streams if s.type == "attachment"}
    assert have == files


@pytest.mark.parametrize(("codec", "source", "box"), [
    ("srt", "mkv", "mkv"), ("ass", "mkv", "mkv"), ("webvtt", "mkv", "webm"),
    ("webvtt", "webm", "mkv"), ("mov_text", "mp4", "mov"), ("mov_text", "mp4", "mp4"),
])  # fmt: skip
def test_subtitles_are_copied(codec: str, source: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / f"in.{source}", subtitles=_LINES, subtitle_codec=codec,
        codec="libvpx-vp9" if source == "webm" else "libx264",
    )  # fmt: skip
    out = tmp_path / f"out.{box}"
    result: WriteResult = run(write_plan(clip.path, out, codec="vp9" if box == "webm" else "h264"))
    assert result.warnings == ()
    texts = [p for p in _packets(out, "subtitle") if len(p[1]) > 2]
    assert texts == [p for p in _packets(clip.path, "subtitle") if len(p[1]) > 2]
    assert len(texts) == 2


def test_timecode_is_written_anew(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "plain.mov", frames=3)
    source = tmp_path / "in.mov"
    with av.open(str(clip.path)) as old, av.open(str(source), "w") as new:
        stream = new.add_stream_from_template(old.streams[0], opaque=True)
        stream.metadata["timecode"] = "01:02:03:04"
        for packet in old.demux():
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    plan = write_plan(source, tmp_path / "out.mov")
    assert [a.action for a in plan.streams] == ["drop"]
    run(plan)
    with av.open(plan.destination) as file:
        assert file.streams.video[0].metadata["timecode"] == "01:02:03:04"


def test_packets_out_of_order_are_moved_and_said(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=20, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.mp4")

    def jumbled(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        seen = 0
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.size:
                seen += 1
                if seen == 5:
                    item.packet.dts -= 100
                    item.packet.pts -= 100
                if seen == 6:
                    item.packet.dts = None
            yield item

    (warning,) = run(plan, jumbled).warnings
    assert "1 packets of audio stream 1 had times out of order" in warning
    assert len(_packets(plan.destination, "audio")) == len(_packets(clip.path, "audio"))


def test_a_second_video_is_copied_where_planned(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mkv", frames=8, options={"bf": "2", "preset": "medium"})
    two = make_clip(tmp_path / "two.mkv", frames=6)
    source = tmp_path / "in.mkv"
    with av.open(str(two.path)) as a, av.open(str(one.path)) as b, av.open(str(source), "w") as new:
        streams = [new.add_stream_from_template(f.streams[0], opaque=True) for f in (a, b)]
        for file, stream in zip((a, b), streams, strict=True):
            for packet in file.demux():
                if packet.size:
                    packet.stream = stream
                    if stream is streams[0] and packet.dts is None:
                        packet.dts = packet.pts
                    new.mux(packet)
    info = probe(str(source))
    action = StreamAction(info.streams[1], "copy", "h264")
    for box in ("mp4", "mkv"):
        plan = write_plan(source, tmp_path / f"out.{box}", actions={1: action})
        run(plan)
        have = sorted(_packets(plan.destination, "video", 1))
        assert [d for _, d in have] == [d for _, d in sorted(_packets(source, "video", 1))]
        assert [float(t) for t, _ in have] == pytest.approx([i / 25 for i in range(8)], abs=1e-3)


def test_times_rounded_by_matroska_are_counted_in_samples_again(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "in.mp4", frames=50, audio="aac", audio_start=Fraction(1, 3))
    run(write_plan(first.path, tmp_path / "a.mkv"))
    run(write_plan(tmp_path / "a.mkv", tmp_path / "b.mp4"))
    times = [time for time, _ in _packets(tmp_path / "b.mp4", "audio")]
    steps = {b - a for a, b in pairwise(times)}
    assert steps == {Fraction(1024, 48000)}
    _same_packets(first.path, tmp_path / "b.mp4", within=Fraction(1, 1000))


@pytest.mark.parametrize("box", ["mkv", "webm", "mp4"])
def test_delay_of_opus_is_kept(box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=10, audio="libopus")
    old = _packets(clip.path, "audio")
    assert old[0][0] < 0
    plan = write_plan(clip.path, tmp_path / f"out.{box}", codec="vp9" if box == "webm" else "h264")
    for trim in (Trim(), Trim(frames=10)):
        plan = replace(plan, trim=trim, overwrite=True)
        assert run(plan).warnings == ()
        new = _packets(plan.destination, "audio")
        assert [data for _, data in new] == [data for _, data in old]
        assert [float(t) for t, _ in new] == pytest.approx([float(t) for t, _ in old], abs=1e-3)
        if box != "mp4":  # where the delay was rounded to ms before it came here
            np.testing.assert_allclose(
                _samples(Path(plan.destination))[1][:4000], _samples(clip.path)[1][:4000], atol=1e-6
            )
