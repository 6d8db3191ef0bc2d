"""Results that go to standard output: the same as files, checked on their way."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from independent import decode_frames, packet_hashes
from plan_factory import read, run, write_plan
from synth import Subtitle, make_clip

import vsr
from pipelines.upscale import plan_upscale
from vsr.cli.entry import run as vsr_run
from vsr.errors import OutputError, StrictError, UsageError, VerifyError
from vsr.media.write import writer as writer_module
from vsr.media.write.into import pipe as pipe_module
from vsr.types import FrameBatch, Plan, SidePacket

Captured = pytest.CaptureFixture[bytes]

_HINT = "index and length: a pipe takes neither"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(
        tmp_path / "in.mkv",
        frames=20,
        time_base=Fraction(1, 50),
        pts=[2 * i + (i > 7) for i in range(20)],
        audio="aac",
        subtitles=[Subtitle(Fraction(0), Fraction(1, 5), "one")],
        attachments={"font.ttf": bytes(range(256)) * 300},
        chapters=[(Fraction(0), Fraction(1, 5), "first"), (Fraction(1, 5), Fraction(2, 5), "then")],
        metadata={"title": "A clip"},
    ).path


def to_stdout(plan: Plan) -> Plan:
    return replace(plan, destination="-")


def test_what_comes_out_is_what_a_file_would_hold(
    clip: Path, tmp_path: Path, capfdbinary: Captured
) -> None:
    file = tmp_path / "file.mkv"
    vsr.upscale(clip, file, model="bicubic")
    capfdbinary.readouterr()
    assert vsr_run(["upscale", str(clip), "-o", "-", "--model", "bicubic"]) == 0
    out, err = capfdbinary.readouterr()
    said = err.decode()
    assert "20 in, 20 out, read back and verified" in said
    assert _HINT in said
    pipe = tmp_path / "pipe.mkv"
    pipe.write_bytes(out)
    assert f"stdout: 128x96, {len(out) / 1000:.3g} kB" in said
    assert decode_frames(pipe) == decode_frames(file)
    for stream in ("v:0", "a:0", "s:0"):
        assert packet_hashes(pipe, stream) == packet_hashes(file, stream)
    one, other = vsr.probe(pipe), vsr.probe(file)
    assert [s.codec for s in one.streams] == [s.codec for s in other.streams]
    assert one.chapters == other.chapters
    assert dict(one.metadata)["title"] == "A clip"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.mkv", "in.mkv", "pipe.mkv"]


@pytest.mark.parametrize("codec", ["vp9", "ffv1", "h264"])
def test_the_shape_of_pixels_arrives(codec: str, tmp_path: Path, capfdbinary: Captured) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=4, sar=Fraction(16, 11))
    run(to_stdout(write_plan(clip.path, tmp_path / "out.mkv", codec=codec)))
    out = capfdbinary.readouterr().out
    with av.open(io.BytesIO(out)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_standard_output_is_given_back(clip: Path, tmp_path: Path, capfdbinary: Captured) -> None:
    """And what is printed meanwhile goes elsewhere."""

    def chatting(plan: Plan) -> Any:
        for item in read(plan):
            os.write(1, b"some library's chatter")
            yield item

    run(to_stdout(write_plan(clip, tmp_path / "out.mkv")), chatting)
    os.write(1, b"and on")
    out, err = capfdbinary.readouterr()
    assert b"chatter" not in out
    assert b"some library's chatter" in err
    assert out.endswith(b"and on")


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_a_packet_that_is_lost_is_found(
    kind: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Captured
) -> None:
    plan = to_stdout(write_plan(clip, tmp_path / "out.mkv"))
    passed = []
    mux = writer_module.Writer._mux

    def losing(self: writer_module.Writer, packet: Any) -> None:
        passed.append(packet.stream.type)
        if packet.stream.type != kind or passed.count(kind) != 3:
            mux(self, packet)

    monkeypatch.setattr(writer_module.Writer, "_mux", losing)
    with pytest.raises(VerifyError, match=r"frame \d|packets") as raised:
        run(plan)
    assert raised.value.where == "stdout"
    assert capfdbinary.readouterr().out


def test_damage_on_the_way_is_found(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Captured
) -> None:
    """Whatever is read back is what has been written, so what is damaged there shows."""
    taken = pipe_module._Check.take

    def damaged(self: pipe_module._Check, data: bytes) -> None:
        taken(self, data[:20] + bytes(len(data) - 20) if data else data)

    monkeypatch.setattr(pipe_module._Check, "take", damaged)
    with pytest.raises(VerifyError):
        run(to_stdout(write_plan(clip, tmp_path / "out.mkv")))
    assert capfdbinary.readouterr().out


def test_what_is_not_finished_is_not_completed(
    clip: Path, tmp_path: Path, capfdbinary: Captured
) -> None:
    def failing(plan: Plan) -> Any:
        for count, item in enumerate(read(plan)):
            if count == 15:
                raise RuntimeError("so much for that")
            yield item

    with pytest.raises(RuntimeError, match="so much"):
        run(to_stdout(write_plan(clip, tmp_path / "out.mkv")), failing)
    os.write(1, b"next")
    assert capfdbinary.readouterr().out.endswith(b"next")


def test_what_a_pipe_does_not_take(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Captured
) -> None:
    plan = plan_upscale(clip, "-", model="bicubic")
    assert plan.container == "mkv"
    assert any(_HINT in sentence for sentence in plan.given_up)
    with pytest.raises(StrictError, match=_HINT) as strict:
        plan_upscale(clip, "-", model="bicubic", strict=True)
    assert strict.value.where == "stdout"
    with pytest.raises(UsageError, match="what goes into a pipe has none"):
        vsr.upscale(clip, "-", model="bicubic", devices="cpu:2")
    assert vsr_run(["upscale", str(clip), "-o", "-", "--json"]) == 2
    assert vsr_run(["upscale", str(clip), str(clip), "-o", "-"]) == 2
    said = capfdbinary.readouterr().err.decode()
    assert "--json and -o - both want stdout" in said
    assert "-o - is for one SRC" in said
    monkeypatch.setattr(os, "isatty", lambda handle: handle == 1)
    with pytest.raises(OutputError, match="would go to the terminal"):
        vsr.upscale(clip, "-", model="bicubic")


@pytest.mark.parametrize(("name", "works"), [("webm", True), ("mp4", False)])
def test_the_container_is_the_presets(name: str, works: bool, clip: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(f'extends = ["x2"]\n[encode]\ncontainer = "{name}"\n')
    if works:
        assert plan_upscale(clip, "-", model="bicubic", preset=preset).container == name
        return
    with pytest.raises(OutputError, match="mp4 files cannot be written into a pipe") as raised:
        plan_upscale(clip, "-", model="bicubic", preset=preset)
    assert "mkv or webm" in raised.value.remedy


def test_from_a_pipe_into_a_pipe(clip: Path, tmp_path: Path) -> None:
    vsr.upscale(clip, tmp_path / "file.mkv", model="bicubic")
    command = [sys.executable, "-m", "vsr", "upscale", "-", "-o", "-", "--model", "bicubic"]
    done = subprocess.run(command, input=clip.read_bytes(), capture_output=True, check=True)
    (tmp_path / "pipe.mkv").write_bytes(done.stdout)
    assert decode_frames(tmp_path / "pipe.mkv") == decode_frames(tmp_path / "file.mkv")
    assert done.stderr.startswith(b"stdin 64x48 -> stdout 128x96")


def test_a_closed_stdout_gets_no_result(clip: Path) -> None:
    command = f"{sys.executable} -m vsr upscale {clip} -o - --model bicubic >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert b"-o - is stdout, and that is closed" in done.stderr


def test_whoever_reads_may_have_had_enough(clip: Path) -> None:
    receiving, sending = os.pipe()
    os.close(receiving)
    command = [sys.executable, "-m", "vsr", "upscale", str(clip), "-o", "-", "--model", "bicubic"]
    try:
        done = subprocess.run(command, stdout=sending, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(sending)
    assert done.returncode == 141
    assert b"error" not in done.stderr


def test_items_reach_a_pipe_as_they_come(clip: Path, tmp_path: Path, capfdbinary: Captured) -> None:
    """A feed is shown while it goes on: a cluster is out when the next one begins."""

    def on_and_on(plan: Plan) -> Any:
        items: list[FrameBatch | SidePacket] = list(read(plan))
        for again in range(40):
            for item in items:
                if isinstance(item, FrameBatch):
                    yield replace(item, pts=(item.pts[0] + 820 * again,))

    plan = replace(to_stdout(write_plan(clip, tmp_path / "out.mkv")), streams=())
    with writer_module.Writer(plan) as writer:
        handle = writer._sink._handle  # type: ignore[union-attr]
        for item in on_and_on(plan):
            writer.write(item)
        before = os.fstat(handle).st_size
        writer.finish()
    after = len(capfdbinary.readouterr().out)
    assert before > after / 2
