"""Reading the result back: what is not as it was written is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from plan_factory import write_plan
from synth import make_clip

from vsr.errors import VerifyError
from vsr.media.write.remux import Tally
from vsr.media.write.verify import verify
from vsr.types import Plan, StreamAction


@dataclass
class _Written:
    """A lane after everything was written."""

    stream: Any
    action: StreamAction
    tally: Tally = field(default_factory=Tally)


def _verify(path: Path, plan: Plan, sounds: tuple[StreamAction, ...]) -> int:
    """Verify the clip ``path`` as if it were the result of ``plan`` with these sounds."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        lanes: Any = {a.stream.index: _Written(file.streams[a.stream.index], a) for a in sounds}
        times = []
        for packet in file.demux():
            if packet.stream is stream and packet.pts is not None:
                times.append(packet.pts)
            elif packet.stream_index in lanes:
                lanes[packet.stream_index].tally.add(packet)
        assert stream.time_base is not None
        lanes = list(lanes.values())
        return verify(path, plan, 0, sorted(times), stream.time_base, lanes)[0]


def _written(tmp_path: Path) -> tuple[Path, Plan, StreamAction]:
    clip = make_clip(tmp_path / "in.mkv", frames=5, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.mkv", scale=1)
    (sound,) = plan.streams
    return clip.path, plan, sound


def test_a_stream_too_many(tmp_path: Path) -> None:
    path, plan, sound = _written(tmp_path)
    assert _verify(path, plan, (sound,)) == 5
    with pytest.raises(VerifyError, match=r"a stream 1 \(audio\) that nobody wrote"):
        _verify(path, plan, ())


def test_streams_that_muxers_make(tmp_path: Path) -> None:
    """Chapter titles are a stream in MP4, and an attached picture is one in Matroska."""
    chapters = [(Fraction(0), Fraction(1, 5), "One")]
    for name in ("in.mp4", "in.mkv"):
        clip = make_clip(tmp_path / name, frames=5, chapters=chapters, cover=True)
        with av.open(str(clip.path)) as file:
            assert len(file.streams) > 1
        assert _verify(clip.path, write_plan(clip.path, tmp_path / "out.mkv", scale=1), ()) == 5


def test_sound_that_became_other_sound(tmp_path: Path) -> None:
    path, plan, sound = _written(tmp_path)
    other = replace(sound, stream=replace(sound.stream, codec="ac3"))
    with pytest.raises(VerifyError, match="the codec is aac instead of ac3"):
        _verify(path, plan, (other,))
    # Of HE-AAC a reader may say half of it.
    halved = replace(sound, stream=replace(sound.stream, sample_rate=24000, channels=1))
    assert _verify(path, plan, (halved,)) == 5
