"""The writer when something goes wrong: what it says, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from independent import decode_frames
from plan_factory import read, run, write_plan
from synth import make_clip

from vsr.errors import EncodeError, OutputError, VerifyError
from vsr.media.write.writer import Writer
from vsr.types import (
    FrameBatch,
    Plan,
    SidePacket,
)


@pytest.mark.parametrize(
    ("codec", "options", "name"),
    [
        ("h264", {"no_such_option": "1"}, "no_such_option"),
        ("h264", {"x264-params": "nosuch=1"}, "nosuch"),
        ("hevc", {"x265-params": "nosuch=1"}, "nosuch"),
        ("av1", {"svtav1-params": "nosuch=1"}, "nosuch"),
        ("h264", {"preset": "warp"}, "libx264"),
    ],
)
def test_unknown_encoder_options(codec: str, options: dict, name: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    plan = write_plan(clip.path, tmp_path / "out.mp4", codec=codec, options=options)
    with pytest.raises(EncodeError, match=name), Writer(plan):
        pytest.fail("the writer opened")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_frames_that_are_not_what_the_plan_says(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    plan = write_plan(clip.path, tmp_path / "out.mp4")
    other = write_plan(clip.path, tmp_path / "out.mp4", scale=1)
    with pytest.raises(EncodeError, match="64x48 came where the plan says yuv420p 128x96"):
        run(plan, lambda _: read(other))


def test_times_out_of_order(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3)

    def items(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            yield replace(item, pts=(5,)) if isinstance(item, FrameBatch) else item

    with pytest.raises(EncodeError, match="does not come after"):
        run(write_plan(clip.path, tmp_path / "out.mp4"), items)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("box", ["mp4", "mkv"])
def test_interrupted_leaves_nothing(kind: type[BaseException], box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=6, audio="aac")
    existing = tmp_path / f"out.{box}"
    existing.write_bytes(b"precious")
    plan = write_plan(
        clip.path, existing, overwrite=True,
        container_options={"movflags": "+faststart"} if box == "mp4" else None,
    )  # fmt: skip

    def items(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for count, item in enumerate(read(plan)):
            yield item
            if count == 4:
                assert len(list(tmp_path.iterdir())) == 3
                raise kind

    with pytest.raises(kind):
        run(plan, items)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", existing.name]
    assert existing.read_bytes() == b"precious"


def test_existing_file_is_kept_unless_overwriting(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        run(write_plan(clip.path, out))
    assert out.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="made from"):
        run(write_plan(clip.path, clip.path, overwrite=True))
    run(write_plan(clip.path, out, overwrite=True))
    assert len(decode_frames(out).times) == 2


_FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from plan_factory import run, write_plan
from vsr.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    run(write_plan(Path({source!r}), Path({out!r}), options={{"qp": "0", "preset": "ultrafast"}}))
except OutputError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("box", ["mp4", "mkv"])
def test_full_disk_ends_cleanly(box: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    code = _FULL_DISK.format(
        tests=str(Path(__file__).parent), source=str(clip.path), out=str(folder / f"out.{box}")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("OutputError")
    assert list(folder.iterdir()) == []


def test_verification_names_the_first_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=5, audio="aac")
    plan = write_plan(clip.path, tmp_path / "out.mp4")

    def write_and_forge(forge: str) -> None:
        with Writer(plan) as writer:
            for item in read(plan):
                if isinstance(item, SidePacket):
                    writer.mux(item)
                else:
                    writer.write(item)
            if forge == "time":
                writer._encoder.times[2] += 1
            else:
                writer._lanes[1].tally.packets += 1
            writer.finish()

    with pytest.raises(VerifyError, match="frame 2 is at"):
        write_and_forge("time")
    with pytest.raises(VerifyError, match="audio stream 1 has"):
        write_and_forge("audio")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]
