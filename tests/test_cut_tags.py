"""What tags say of a part of a file: its first frame's timecode, and no counts of the whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from media_factory import media, plan_for, stream, video
from synth import make_clip

from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.plan.side_data import cut_timecode
from vsr.types import Trim

_COUNTS = {
    "BPS-eng": "128000", "DURATION-eng": "00:00:02.000", "NUMBER_OF_FRAMES-eng": "94",
    "NUMBER_OF_BYTES": "32000", "_STATISTICS_TAGS-eng": "BPS DURATION",
    "_STATISTICS_WRITING_APP": "mkvmerge",
}  # fmt: skip


def _copy(source: Path, path: Path, tags: dict[str, dict[str, str]]) -> Path:
    """The same streams with more tags."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata.update(tags.get("file", {}))
        streams: list[Any] = []
        for one in old.streams:
            streams.append(new.add_stream_from_template(one, opaque=True))
            streams[-1].metadata.update(one.metadata)
            streams[-1].metadata.update(tags.get(one.type, {}))
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return path


def _timecodes(path: Path) -> set[str]:
    """Every timecode that the file states: of streams, and of the file itself."""
    with av.open(str(path)) as file:
        tags = [file.metadata, *(s.metadata for s in file.streams)]
        return {v for each in tags for k, v in each.items() if k.lower() == "timecode"}


@pytest.mark.parametrize(("rate", "before", "after"), [
    (Fraction(25), "01:02:03:04", "01:02:03:06"),
    (Fraction(25), "23:59:59:24", "00:00:00:01"),
    (Fraction(30000, 1001), "01:00:59;28", "01:01:00;02"),  # ;00 and ;01 do not exist
])  # fmt: skip
@pytest.mark.parametrize("box", ["mov", "mp4", "mkv"])
def test_the_timecode_is_that_of_the_first_frame(
    rate: Fraction, before: str, after: str, box: str, tmp_path: Path
) -> None:
    plain = make_clip(tmp_path / "plain.mov", frames=6, rate=rate)
    source = _copy(plain.path, tmp_path / "in.mov", {"video": {"timecode": before}})
    out = tmp_path / f"out.{box}"
    assert _timecodes(source) == {before}
    report = upscale(source, out, 2, model="bicubic", start=2 / rate)
    assert (report.frames_out, report.given_up) == (4, ())
    assert _timecodes(out) == {after}
    upscale(source, out, 2, model="bicubic", frames=3, overwrite=True)
    assert _timecodes(out) == {before}


@pytest.mark.parametrize("box", ["mov", "mkv"])
def test_a_timecode_of_the_file_itself(box: str, tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mkv", frames=6)
    source = _copy(plain.path, tmp_path / "in.mkv", {"file": {"timecode": "10:00:00:00"}})
    out = tmp_path / f"out.{box}"
    upscale(source, out, 2, model="bicubic", start=Fraction(3, 25))
    assert _timecodes(out) == {"10:00:00:03"}


def test_counts_of_the_whole_stream_go_with_the_rest_of_it(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mkv", frames=50, audio="aac")
    tags = {"audio": {**_COUNTS, "title": "Sound", "PRODUCER": "Me"}}
    source = _copy(plain.path, tmp_path / "in.mkv", tags)
    out = tmp_path / "out.mkv"
    for wishes, kept in (({}, True), ({"start": Fraction(1)}, False), ({"frames": 10}, False)):
        upscale(source, out, 2, model="bicubic", overwrite=True, **wishes)  # type: ignore[arg-type]
        with av.open(str(out)) as file:
            found = dict(file.streams.audio[0].metadata)
        assert (found["title"], found["PRODUCER"], found["language"]) == ("Sound", "Me", "eng")
        assert ({name.lower() for name in found} >= {name.lower() for name in _COUNTS}) == kept
        # The container states how long the stream is now, as a tag of its own.
        told = {name for name in found if name.upper().startswith(("BPS", "NUMBER", "_STAT"))}
        assert bool(told) == kept
        assert ("DURATION-eng" in found) == kept


def _next(timecode: str, fps: int) -> str:
    """The timecode of the next frame, by the standard's words: two numbers left out a minute."""
    hours, minutes, seconds, number = (int(x) for x in timecode.replace(";", ":").split(":"))
    number += 1
    if number == fps:
        seconds, number = seconds + 1, 0
    if seconds == 60:
        minutes, seconds = minutes + 1, 0
        if ";" in timecode and minutes % 10:
            number = fps // 15
    if minutes == 60:
        hours, minutes = hours + 1, 0
    mark = ";" if ";" in timecode else ":"
    return f"{hours % 24:02}:{minutes:02}:{seconds:02}{mark}{number:02}"


@pytest.mark.parametrize(("rate", "start"), [
    (Fraction(30000, 1001), "23:48:58;00"), (Fraction(60000, 1001), "09:58:58;58"),
    (Fraction(24000, 1001), "00:59:58:00"), (Fraction(50), "00:09:58:49"),
])  # fmt: skip
def test_timecodes_count_as_the_standard_says(rate: Fraction, start: str) -> None:
    main = video(average_rate=rate, time_base=1 / rate, start=7)
    timecode = start
    for frame in range(1, 45_000):
        timecode = _next(timecode, round(rate))
        if frame % 1799 < 5:
            assert cut_timecode(start, main, Trim(start=7 + frame)) == timecode
    assert cut_timecode(start, main, Trim(start=7 + 44_999)) == timecode


@pytest.mark.parametrize(("timecode", "rate"), [
    ("01:02:03:04", None), ("half past ten", 25), ("01:02:03:30", 25), ("01:02:03;04", 25),
    ("24:00:00:00", 25),
])  # fmt: skip
def test_a_timecode_that_cannot_be_counted_on_is_left_out(timecode: str, rate: int | None) -> None:
    rates = {"average_rate": None if rate is None else Fraction(rate)}
    main = video(metadata=(("timecode", timecode),), **rates)
    track = stream(1, "data", "unknown", metadata=(("timecode", timecode),))
    plan = plan_for(media(main, track), trim=Trim(start=9000))
    (lost,) = plan.given_up
    assert lost.startswith(f"timecode {timecode}: ")
    assert dict(plan.video.metadata) == {}
    assert dict(plan.info.videos[0].metadata) == {"timecode": timecode}
    with pytest.raises(StrictError, match="timecode"):
        plan_for(media(main, track), trim=Trim(start=9000), strict=True)
    assert plan_for(media(main, track), trim=Trim(frames=5)).given_up == ()
