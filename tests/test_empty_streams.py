"""Streams that have nothing in the wanted part: left out by MP4 and MOV, which is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from independent import decode_frames, packet_hashes
from plan_factory import run
from segment_jobs import plan_for
from synth import gradient_png, picture, video_frame

from pipelines.upscale import run_upscale, upscale
from vsr.errors import VerifyError
from vsr.media.write.template import dvd_subtitle_template
from vsr.media.write.writer import Writer
from vsr.types import Plan, Report, pixel_format

BOXES = ["mp4", "mov", "mkv", "webm"]
#: Boxes whose muxer leaves out what got no packet.
QUICKTIME = {"mp4", "mov"}
RATE, SECONDS, SAMPLES = 10, 6, 48000


@dataclass(frozen=True)
class Track:
    """A stream of the source: its encoder, and from when to when it has something, in seconds."""

    codec: str
    begin: float = 0
    end: float = SECONDS

    def sample_format(self) -> str:
        names = [fmt.name for fmt in av.Codec(self.codec, "w").audio_formats or ()]
        return "s16" if "s16" in names else names[0]


VIDEO = Track("libx264")
WHOLE, LATE, OVER = Track("aac"), Track("aac", begin=5), Track("aac", end=1)
EMPTY = Track("aac", end=0)


def record(path: Path, *tracks: Track, cover: bool = False, chapter: bool = False) -> Path:
    """A clip of six seconds with these streams, in order."""
    with av.open(str(path), "w") as out:
        streams = [_add(out, track) for track in tracks]
        if cover:
            out.add_attachment("cover.png", "image/png", gradient_png())
        if chapter:
            tick, title = Fraction(1, 1000), {"title": "One"}
            one: Any = {"id": 1, "start": 0, "end": 1000, "time_base": tick, "metadata": title}
            out.set_chapters([one])
        out.start_encoding()
        for second in range(SECONDS):
            for stream, track in zip(streams, tracks, strict=True):
                if track.begin <= second < track.end:
                    for frame in _frames(track, second):
                        out.mux(stream.encode(frame))
        for stream, track in zip(streams, tracks, strict=True):
            if track.begin < track.end:
                out.mux(stream.encode(None))
    return path


def _add(out: Any, track: Track) -> Any:
    if track.codec == "dvd":
        with dvd_subtitle_template(b"size: 32x32\n") as template:
            return out.add_stream_from_template(template, opaque=True)
    if track.codec == "srt":
        stream = out.add_stream("srt")
        stream.codec_context.subtitle_header = b"[Events]\r\n"
        return stream
    if track is VIDEO:
        options = {"preset": "ultrafast", "qp": "0", "g": "10"}
        stream = out.add_stream(track.codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        return stream
    stream = out.add_stream(track.codec, rate=SAMPLES, layout="stereo")
    stream.codec_context.format = track.sample_format()
    return stream


def _frames(track: Track, second: int) -> Iterator[Any]:
    """What one second has."""
    if track is VIDEO:
        for index in range(second * RATE, (second + 1) * RATE):
            planes = picture(index, pixel_format("yuv420p"), 32, 32)
            frame = video_frame(planes, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            yield frame
        return
    wave = np.sin(np.arange(SAMPLES) * 440 * 2 * np.pi / SAMPLES) * (0.1 + second / 10)
    whole = av.AudioFrame.from_ndarray(np.array([wave, wave], np.float32), "fltp", "stereo")
    whole.sample_rate, whole.time_base = SAMPLES, Fraction(1, SAMPLES)
    whole.pts = second * SAMPLES
    yield from av.AudioResampler(track.sample_format(), "stereo", SAMPLES).resample(whole)


def streams(path: Path) -> list[tuple[str, int]]:
    """Kind and number of packets of each stream; texts of two bytes are MP4's pauses."""
    with av.open(str(path)) as file:
        counts = dict.fromkeys(range(len(file.streams)), 0)
        for packet in file.demux():
            counts[packet.stream_index] += packet.size > 2
        return [(stream.type, counts[stream.index]) for stream in file.streams]


def sound(path: Path, stream: int, begin: float = 0, end: float = SECONDS) -> list[bytes]:
    """The packets of a sound that begin in this part."""
    with av.open(str(path)) as file:
        return [
            bytes(packet)
            for packet in file.demux(file.streams[stream])
            if packet.pts is not None and begin <= packet.pts * packet.time_base < end
        ]


def make(source: Path, destination: Path, *, resume: bool, **wishes: Any) -> Report:
    """The report of a run in segments or straight through."""
    report = run_upscale(plan_for(source, destination, **wishes), resume=resume)
    assert (report.segments > 1) == resume
    assert report.verified
    assert not list(destination.parent.glob("*.vsr"))
    return report


def said(
    stream: int, codec: str, box: str, why: str = "nothing of it was found in this part"
) -> str:
    return f"stream {stream} ({codec}): {why}, and .{box} holds no empty streams."


ORDERS = {
    "after": (VIDEO, WHOLE, LATE),
    "before": (VIDEO, LATE, WHOLE),
    "around": (LATE, VIDEO, OVER, WHOLE, EMPTY),
    "sound first": (WHOLE, OVER, VIDEO, LATE),
    "all": (LATE, VIDEO),
}
PARTS: list[tuple[dict[str, Any], float, float]] = [
    ({"start": Fraction(2), "end": Fraction(4)}, 2, 4),
    ({"start": Fraction(3, 2), "frames": 24}, 1.5, 3.9),
]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("resume", [True, False], ids=["segments", "through"])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_part_without_some_of_the_sounds(
    order: str, box: str, resume: bool, tmp_path: Path
) -> None:
    tracks = ORDERS[order]
    source = record(tmp_path / "in.mkv", *tracks)
    for number, (wishes, begin, end) in enumerate(PARTS):
        out = tmp_path / f"{number}.{box}"
        report = make(source, out, resume=resume, **wishes)
        frames = round((end - begin) * RATE)
        assert (report.frames_out, len(decode_frames(out).times)) == (frames, frames)
        gone = [i for i, t in enumerate(tracks) if t not in (VIDEO, WHOLE)]
        left = [i for i in range(len(tracks)) if i not in gone or box not in QUICKTIME]
        found = streams(out)
        assert [kind for kind, _ in found] == [
            "video" if tracks[i] is VIDEO else "audio" for i in left
        ]
        for index, (_, packets) in zip(left, found, strict=True):
            assert (packets == 0) == (index in gone)
        if box != "webm" and WHOLE in tracks:
            whole = tracks.index(WHOLE)
            kept = sound(source, whole, begin, end)
            assert kept
            assert sound(out, left.index(whole), -1) == kept
        told = tuple(said(i, "audio, aac", box) for i in gone if box in QUICKTIME)
        assert tuple(s for s in report.given_up if "re-encoded" not in s) == told


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "mp2", "libopus", "ac3"])
@pytest.mark.parametrize("box", BOXES)
def test_a_part_without_the_only_sound(codec: str, box: str, tmp_path: Path) -> None:
    source = record(tmp_path / "in.mkv", VIDEO, Track(codec, end=1))
    for resume in (True, False):
        out = tmp_path / f"{resume}.{box}"
        report = make(source, out, resume=resume, start=Fraction(3))
        assert report.frames_out == len(decode_frames(out).times) == 30
        kinds = [("video", 30), ("audio", 0)]
        assert streams(out) == (kinds[:1] if box in QUICKTIME else kinds)
        name = f"audio, {codec.removeprefix('lib')}"
        if box in QUICKTIME:  # and nothing about a conversion
            assert report.given_up == (said(1, name, box),)
        else:
            assert not any("nothing of it" in sentence for sentence in report.given_up)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("box", BOXES[:3])
def test_a_sound_that_is_empty_throughout(box: str, strict: bool, tmp_path: Path) -> None:
    source = record(tmp_path / "in.mkv", VIDEO, WHOLE, EMPTY)
    for resume in (True, False):
        out = tmp_path / f"{resume}.{box}"
        report = make(source, out, resume=resume, strict=strict)
        sentence = said(2, "audio, aac", box, "nothing of it was found")
        assert report.given_up == ((sentence,) if box in QUICKTIME else ())
        assert report.frames_out == len(decode_frames(out).times) == SECONDS * RATE
        assert packet_hashes(out, "a:0") == packet_hashes(source, "a:0")


@pytest.mark.parametrize("box", BOXES)
def test_nobody_claims_that_it_was_converted(box: str, tmp_path: Path) -> None:
    tracks = (VIDEO, Track("flac"), Track("flac", end=0))
    plan = plan_for(record(tmp_path / "in.mkv", *tracks), tmp_path / f"out.{box}")
    claims = [s for s in plan.given_up if "re-encoded" in s]
    assert len(claims) == {"mp4": 0, "mov": 2, "mkv": 0, "webm": 2}[box]
    result = run(plan)
    found = streams(tmp_path / f"out.{box}")
    assert [kind for kind, _ in found] == ["video", "audio", "audio"][
        : 2 if box in QUICKTIME else 3
    ]
    assert found[1][1] > 0
    if box in QUICKTIME:
        told = said(2, "audio, flac", box, "nothing of it was found")
        assert result.lacking(plan) == (*claims[:1], told)
        assert result.untrue == tuple(claims[1:])
    else:
        # The track is there, in the form that was announced.
        assert result.lacking(plan) == plan.given_up


def test_it_is_said_without_verification_too(tmp_path: Path) -> None:
    source = record(tmp_path / "in.mkv", VIDEO, LATE)
    report = upscale(source, tmp_path / "out.mp4", 2, model="bicubic", frames=8, verify=False)
    assert (report.given_up, report.verified) == ((said(1, "audio, aac", "mp4"),), False)


def test_tracks_that_come_of_no_stream(tmp_path: Path) -> None:
    """Numbers of covers and chapters are not taken for those of streams."""
    tracks = (LATE, VIDEO, Track("dvd", end=0), WHOLE, LATE)
    source = record(tmp_path / "in.mkv", *tracks, cover=True, chapter=True)
    out = tmp_path / "out.mp4"
    report = upscale(source, out, 2, model="bicubic", end=Fraction(2))
    assert report.given_up == (
        said(0, "audio, aac", "mp4"),
        said(2, "subtitle, dvd_subtitle", "mp4"),
        said(4, "audio, aac", "mp4"),
    )
    assert [kind for kind, _ in streams(out)] == ["video", "audio", "data", "video"]
    assert sound(out, 1, -1) == sound(source, 3, -1, 2)
    assert len(decode_frames(out).times) == 20


@pytest.mark.parametrize("box", BOXES)
def test_texts_without_a_text_stay(box: str, tmp_path: Path) -> None:
    """MP4's muxer makes an empty text where there is none, so that the track is there."""
    source = record(tmp_path / "in.mkv", VIDEO, Track("srt", end=0), LATE, WHOLE)
    out = tmp_path / f"out.{box}"
    report = upscale(source, out, 2, model="bicubic", frames=10)
    kinds = ["video", "subtitle", "audio", "audio"]
    kinds = kinds[: 3 if box in QUICKTIME else 4]
    assert [kind for kind, _ in streams(out)] == kinds
    assert not any("stream 1 (" in sentence for sentence in report.given_up)
    assert (said(2, "audio, aac", box) in report.given_up) == (box in QUICKTIME)


def damaged(path: Path, good: Path) -> Path:
    """The same with a sound of which nothing can be decoded."""
    with av.open(str(good)) as old, av.open(str(path), "w") as new:
        copies = [new.add_stream_from_template(s, opaque=True) for s in old.streams]
        for packet in old.demux():
            if not packet.size:
                continue
            again = av.Packet(bytes(packet.size)) if packet.stream_index else packet
            again.pts, again.dts, again.time_base = packet.pts, packet.dts, packet.time_base
            again.stream = copies[packet.stream_index]
            new.mux(again)
    return path


def test_a_sound_that_does_not_decode(tmp_path: Path) -> None:
    good = record(tmp_path / "good.mkv", VIDEO, Track("flac"))
    source, out = damaged(tmp_path / "in.mkv", good), tmp_path / "out.mov"
    report = upscale(source, out, 2, model="bicubic")
    assert streams(out) == [("video", 60)]
    assert said(1, "audio, flac", "mov", "none of it could be decoded") in report.given_up
    count = len(sound(source, 1))
    assert report.warnings == (f"{count} packets of audio stream 1 could not be decoded.",)


@pytest.mark.parametrize("box", ["mp4", "mov"])
@pytest.mark.parametrize("lost", range(4))
def test_a_stream_that_got_packets_must_be_there(
    lost: int, box: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted and does not reach the muxer is missed, whatever else was left out."""
    source = record(tmp_path / "in.mkv", LATE, WHOLE, VIDEO, WHOLE)
    mux = Writer._mux

    def losing(self: Writer, packet: Any) -> None:
        if packet.stream.index != lost:
            mux(self, packet)

    monkeypatch.setattr(Writer, "_mux", losing)
    plan: Plan = plan_for(source, tmp_path / f"out.{box}", frames=10)
    if lost == 0:
        assert run_upscale(plan).given_up == (said(0, "audio, aac", box),)
        return
    name = "the video stream" if lost == 2 else f"audio stream {lost}"
    with pytest.raises(VerifyError, match=f"{name} is missing"):
        run_upscale(plan)
    assert not (tmp_path / f"out.{box}").exists()
