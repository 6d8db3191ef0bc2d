"""``vsr upscale`` and ``vsr plan`` on real clips, with the weight-free model."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from independent import decode_frames, packet_hashes
from synth import Clip, make_clip

from pipelines.events import Progress, Warned
from vsr.cli import events
from vsr.cli.entry import run
from vsr.errors import DecodeError
from vsr.media.probe import probe

Captured = pytest.CaptureFixture[str]

QUICK = ("--model", "bicubic", "--speed", "ultrafast")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Twelve frames with sound and a font, of which the font does not fit into mp4."""
    path = tmp_path_factory.mktemp("source") / "clip.mkv"
    return make_clip(path, audio="aac", attachments={"font.ttf": b"not really"})


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


def test_upscale_prints_a_report(
    clip: Clip, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out.mp4"
    assert run(["upscale", str(clip.path), "-s", "3", "-o", str(out), *QUICK]) == 0
    assert names(tmp_path) == ["out.mp4"]
    assert (probe(str(out)).videos[0].width, probe(str(out)).videos[0].height) == (192, 144)
    assert len(decode_frames(out).times) == 12
    assert packet_hashes(out, "a:0") == packet_hashes(clip.path, "a:0")

    report, told = capsys.readouterr()
    first, *rest = report.splitlines()
    assert first.startswith(f"{out}: 192x144, ")
    assert "  frames   12 in, 12 out, read back and verified" in rest
    assert re.search(r"busy     decode \d+%, infer \d+%, encode \d+%; bound by \w+\n", report)
    assert re.search(r"given up\n    - .*font.ttf", report)
    assert told.startswith(f"{clip.path} 64x48 -> {out} 192x144: bicubic on cpu, h264\n")
    assert "given up: stream 2 (attachment" in told
    assert "%" not in told  # no bar, this is not a terminal


def test_json_is_one_event_a_line(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.mkv"
    assert run(["upscale", str(clip.path), "-o", str(out), "--json", *QUICK]) == 0
    text, told = capsys.readouterr()
    assert told == ""
    found = [json.loads(line) for line in text.splitlines()]
    kinds = [event["event"] for event in found]
    assert kinds[0] == "plan"
    assert kinds[-1] == "report"
    assert set(kinds[1:-1]) == {"progress"}
    assert found[0]["plan"]["model"] == {"name": "bicubic", "scale": 2, "weights": None}
    last = found[-2]
    assert (last["frames"], last["total"], last["eta"]) == (12, 12, 0)
    assert last["bound_by"] in ("decode", "infer", "encode")
    assert found[-1]["report"]["frames_out"] == 12
    assert found[-1]["report"]["bytes"] == out.stat().st_size


def test_json_tells_errors_too(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.mp4"
    assert run(["upscale", str(clip.path), "-o", str(out), "--json", "--strict", *QUICK]) == 6
    text, told = capsys.readouterr()
    error = json.loads(text.splitlines()[-1])
    assert (error["event"], error["kind"], error["exit_code"]) == ("error", "StrictError", 6)
    assert "font.ttf" in error["message"]
    assert told.startswith("error: ")
    assert names(tmp_path) == []


def test_quiet_is_quiet(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.mp4"
    assert run(["upscale", str(clip.path), "-o", str(out), "--quiet", *QUICK]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(decode_frames(out).times) == 12
    assert run(["upscale", str(clip.path), "-o", str(out), "--quiet", *QUICK]) == 4
    assert "already" in capsys.readouterr().err


def test_an_existing_result_is_replaced_only_when_told(
    clip: Clip, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    assert run(["upscale", str(clip.path), "-o", str(out), *QUICK]) == 4
    assert out.read_bytes() == b"precious"
    assert run(["upscale", str(clip.path), "-o", str(out), "-y", *QUICK]) == 0
    assert len(decode_frames(out).times) == 12
    assert names(tmp_path) == ["out.mp4"]


def test_parts_and_encoder_options_arrive(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.mkv"
    asked = ["--start", "0:00.12", "--end", "0.4", "--frames", "5", "--codec", "ffv1"]
    asked += ["-x", "slices=4", "-x", "coder=1", "--pix-fmt", "yuv444p10le", "--no-verify"]
    asked += ["--color-matrix", "bt709", "--color-range", "full", "--chroma-site", "center"]
    arguments = ["upscale", str(clip.path), "-o", str(out), "--model", "bicubic", "--json", *asked]
    assert run(arguments) == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[0])["plan"]
    assert {"slices": "4", "coder": "1"}.items() <= dict(plan["encode"]["options"]).items()
    assert (plan["color"]["matrix"], plan["color"]["range"]) == ("bt709", "full")
    assert plan["color"]["site"] == "center"
    assert plan["verify"] is False
    times = decode_frames(out).times
    assert [time - times[0] for time in times] == [Fraction(i, 25) for i in range(5)]
    video = probe(str(out)).videos[0]
    assert (video.codec, video.format.name) == ("ffv1", "yuv444p10le")


def test_without_wishes_the_preset_decides(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(
        '[model]\nname = "bicubic"\nscale = 4\n[encode]\ncodec = "h264"\nspeed = "ultrafast"\n'
        "[run]\nstrict = true\n"
    )
    arguments = ["upscale", str(clip.path), "-o", str(tmp_path / "out.mp4"), "-p", str(preset)]
    assert run(arguments) == 6
    capsys.readouterr()
    arguments[3] = str(tmp_path / "out.mkv")
    assert run([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[0])["plan"]
    assert (plan["width"], plan["strict"], plan["encode"]["name"]) == (256, True, "h264")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "{}/out.wmv"], 4, "Name it with one of"),
        (["-o", "{}/nowhere/out.mp4"], 4, "does not exist"),
        (["-o", "{}/out.mp4", "--preset", "x2-hvec"], 2, "Did you mean 'x2-hevc'?"),
        (["-o", "{}/out.mp4", "--codec", "hvec"], 2, "Did you mean 'hevc'?"),
        (["-o", "{}/out.mp4", "--quality", "99"], 2, "quality 99"),
        (["-o", "{}/out.mp4", "--video-stream", "1"], 2, "stream 1 is no video"),
        (["-o", "{}/out.mp4", "--start", "100"], 3, "Choose another start"),
        (["-o", "{}/out.mp4", "--weights", "{}/none.pt"], 7, "none.pt: there is no such"),
        (["-o", "{}/out.mp4", "--weights", __file__], 7, "not a readable weights file"),
        (["-o", "{}/out.mp4", "--device", "gpu"], 8, "'gpu' is not a device"),
        (["-o", "{}/out.mp4", "--backend", "magic"], 2, "there is no backend called 'magic'"),
        (["-o", "{}/out.mp4", "--reader", "magic"], 2, "there is no reader called 'magic'"),
        (["-o", "{}/out.mp4", "-x", "made-up=1", *QUICK], 4, "made-up"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, list) else "",
)
def test_errors_leave_nothing_behind(
    arguments: list[str], code: int, message: str, clip: Clip, tmp_path: Path, capsys: Captured
) -> None:
    filled = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    assert run(["upscale", str(clip.path), *filled]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "bug" not in err
    assert names(tmp_path) == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_run_leaves_nothing_behind(name: str, code: int, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "long.mkv", width=160, height=120, frames=300).path
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = ["upscale", str(source), "-o", str(folder / "out.mp4"), "-s", "4", "--json", *QUICK]
    with subprocess.Popen(
        [sys.executable, "-m", "vsr", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert json.loads(next(lines))["event"] == "plan"
        assert json.loads(next(lines))["event"] == "progress"
        assert names(folder) != []
        process.send_signal(getattr(signal, name))
        last = list(lines)[-1]
        _, err = process.communicate()
    assert process.returncode == code
    assert json.loads(last) == {
        "event": "error",
        "kind": "Stopped",
        "message": "by Ctrl-C" if name == "SIGINT" else f"by {name}",
        "where": "",
        "remedy": "",
        "exit_code": code,
    }
    assert err.startswith("stopped: by ")
    assert err.count("\n") == 1
    assert names(folder) == []


def test_stopping_inside_a_frame_is_clean(tmp_path: Path) -> None:
    """The network's thread is in native code then, which must not abort the process on its way."""
    source = make_clip(tmp_path / "in.mkv", width=640, height=360, frames=3).path
    folder = tmp_path / "out"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "vsr", "upscale", str(source), "-o", str(folder / "out.mp4")],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        while process.poll() is None and names(folder) == []:
            time.sleep(0.05)
        # The writer is open, so the network is being loaded or at work on the first frame.
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "stopped: by Ctrl-C"
    assert names(folder) == []


def test_plan_predicts_and_writes_nothing(clip: Clip, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["plan", str(clip.path), "-o", str(tmp_path / "out.mp4"), *QUICK]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    for expected in (
        "64x48 -> 128x96",
        "attachment",
        "prediction\ntime          about ",
        "\nsize ",
        "\nif stopped    begins anew, it is short\n",
    ):
        assert expected in text
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["destination"] == str(tmp_path / "out.mp4")
    prediction = found["prediction"]
    assert prediction["frames"] == 12
    assert prediction["seconds"] == pytest.approx(12 / prediction["fps"])
    assert prediction["bytes"] > 0
    assert found["segments"] == {"frames": 250, "why_whole": "it is short"}
    assert names(tmp_path) == []


class Terminal(io.StringIO):
    """Something that claims to be one."""

    def isatty(self) -> bool:
        return True


EVENTS = [
    Progress(1, 4, 0.5, 6.0, "infer"),
    Warned("a packet was damaged"),
    Progress(4, 4, 0.75, 0.0, "encode"),
]


def test_the_bar_shows_frames_rate_time_left_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    with events.text_events(4) as listen:
        for event in EVENTS:
            listen(event)
    shown = screen.getvalue()
    assert "warning: a packet was damaged\n" in shown
    assert "4/4 frames, 0.75 fps, 00:00 left, bound by encode" in shown
    assert shown.endswith("\n")


def test_the_bar_of_an_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with events.text_events(None) as listen:
        listen(Progress(7, None, 3.5, None, "infer"))
    assert re.search(r"7 frames in \d\d:\d\d, 3.5 fps, bound by infer", screen.getvalue())


def test_a_log_gets_few_lines(capsys: Captured) -> None:
    with events.text_events(4) as listen:
        for event in EVENTS:
            listen(event)
    assert capsys.readouterr().err.splitlines() == [
        "warning: a packet was damaged",
        "4/4 frames, 0.75 fps, 00:00 left, bound by encode",
    ]


def test_json_progress_is_rate_limited(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 10.2, 10.4, 10.6, 10.7])
    monkeypatch.setattr(events.time, "monotonic", lambda: next(now))
    listen = events.json_events()
    for frame in range(1, 6):
        listen(Progress(frame, 5, 5.0, (5 - frame) / 5, "infer"))
    shown: list[dict[str, Any]] = [json.loads(s) for s in capsys.readouterr().out.splitlines()]
    assert [event["frames"] for event in shown] == [1, 4, 5]


def test_a_failing_run_closes_its_bar(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(plan: object, on_event: Any, **_: object) -> None:
        on_event(Progress(1, 12, 1.0, 11.0, "decode"))
        raise DecodeError("it broke", where="clip.mkv")

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("pipelines.upscale.run_upscale", fail)
    assert run(["upscale", str(clip.path), "-o", str(tmp_path / "out.mkv"), *QUICK]) == 3
    assert screen.getvalue().endswith("\nerror: clip.mkv: it broke\n")
