"""Modes in whole jobs: planned with a reason, kept in the ledger, the same for any workers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from independent import decode_frames
from segment_jobs import Stop, assert_same, stop_at
from synth import make_clip, picture, video_frame
from test_modes import Tight

from pipelines.events import Event
from pipelines.segments.settings import job_settings
from pipelines.upscale import plan_upscale, run_upscale, upscale
from vsr.cli.entry import run
from vsr.engine.upscaler import Upscaler
from vsr.errors import PresetError, UsageError
from vsr.plan import describe
from vsr.preset import load_preset
from vsr.types import Plan, pixel_format

FRAMES = 9


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of three frames in ten seconds, without any patching, so in any process."""
    path = tmp_path_factory.mktemp("source") / "in.mkv"
    still = picture(0, pixel_format("yuv420p"), 24, 16)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=Fraction(3, 10))
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p"
        for index in range(FRAMES):
            # Slow enough that nothing is taken for a cut, so that frames do weight each other.
            planes = [still[0] // 2 + 8 * index, *still[1:]]
            out.mux(stream.encode(video_frame(planes, "yuv420p")))
        out.mux(stream.encode(None))
    return path


def plan_for(source: Path, destination: Path, **wishes: Any) -> Plan:
    given: dict[str, Any] = {"mode": "lagged", "model": "fdiwn-m", "codec": "ffv1"}
    return plan_upscale(str(source), str(destination), scale=2, device="cpu", **(given | wishes))


def test_a_plan_says_why(clip: Path, tmp_path: Path) -> None:
    out, wish = tmp_path / "out.mkv", dict[str, Any](model="fdiwn", device="cpu")
    plan = plan_upscale(str(clip), str(out), mode="lagged", batch=4, **wish)
    assert (plan.mode, plan.backend, plan.batch) == ("lagged", "torch", 1)
    assert "mode lagged" in describe(plan)
    why = next(reason for reason in plan.reasons if reason.topic == "mode")
    assert "the one before" in why.why
    plan = plan_upscale(str(clip), str(out), mode="paper", model="bicubic")
    assert plan.mode == "exact"
    assert "all modes are the same" in describe(plan)
    plan = plan_upscale(str(clip), str(out), **wish)
    assert plan.mode == "exact"
    assert not [reason for reason in plan.reasons if reason.topic == "mode"]


def test_a_preset_may_wish_for_a_mode(clip: Path, tmp_path: Path) -> None:
    preset = tmp_path / "film.toml"
    preset.write_text('extends = ["x2"]\n[run]\nmode = "paper"\n')
    wish: dict[str, Any] = {"preset": str(preset), "device": "cpu"}
    assert plan_upscale(str(clip), str(tmp_path / "o.mkv"), **wish).mode == "paper"
    assert plan_upscale(str(clip), str(tmp_path / "o.mkv"), **wish, mode="exact").mode == "exact"
    preset.write_text('[run]\nmode = "laged"\n')
    with pytest.raises(PresetError, match="lagged"):
        load_preset(str(preset))


def test_the_ledger_knows_the_mode(clip: Path, tmp_path: Path) -> None:
    one, other = (
        job_settings(plan_upscale(str(clip), str(tmp_path / "o.mkv"), mode=mode, device="cpu"))
        for mode in ("exact", "paper")
    )
    changed = {name for name in one if one[name] != other.get(name)}
    assert changed == {"mode"}


def test_the_command_line_names_the_modes(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.mkv")
    assert run(["plan", str(clip), "-o", out, "--mode", "median"]) == 2
    assert "'lagged'" in capsys.readouterr().err
    asked = ["--mode", "lagged", "--backend", "native", "--device", "cpu"]
    assert run(["upscale", str(clip), "-o", out, *asked]) == 8
    assert "cannot weight a frame by the one before" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the small variant, random."""
    from safetensors.torch import save_file
    from test_models_fdiwn import _awkward

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(_awkward("fdiwn-m", 2).state_dict(), path)
    return path


def test_lagged_segments_do_not_depend_on_workers(
    clip: Path, weights: Path, tmp_path: Path
) -> None:
    wish: dict[str, Any] = {"weights": weights, "model": "fdiwn-m", "codec": "ffv1"}
    paths = []
    for workers in (1, 2):
        paths.append(tmp_path / f"{workers}.mkv")
        report = upscale(clip, paths[-1], 2, devices=f"cpu:{workers}x1", mode="lagged", **wish)
        assert (report.workers, report.segments, report.frames_out) == (workers, 3, FRAMES)
    assert_same(paths[0], paths[1])


def test_a_lagged_run_that_was_stopped_goes_on_the_same(
    clip: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, whole = tmp_path / "stopped.mkv", tmp_path / "whole.mkv"
    plan = plan_for(clip, stopped, weights=weights)
    with monkeypatch.context() as patch:
        stop_at(patch, 13_000, Stop())
        with pytest.raises(Stop):
            run_upscale(plan)
    assert run_upscale(plan).resumed_frames == 3
    assert run_upscale(plan_for(clip, whole, weights=weights)).frames_out == FRAMES
    assert_same(stopped, whole)
    exact = tmp_path / "exact.mkv"
    run_upscale(plan_for(clip, exact, weights=weights, mode="exact", backend="torch"))
    ours, theirs = decode_frames(whole).hashes, decode_frames(exact).hashes
    # Each segment begins with its own frame's statistics.
    same = [index for index in range(FRAMES) if ours[index] == theirs[index]]
    assert same == [0, 3, 6]


def test_frames_that_do_not_fit_are_reported(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.mkv"
    make_clip(source, frames=4, width=136, height=16)
    make = Upscaler.__init__

    def tight(self: Upscaler, *rest: Any, **more: Any) -> None:
        make(self, *rest, **more)
        self._backend = Tight(self, 16 * 100)

    wish = {"weights": weights, "backend": "torch", "mode": "exact"}
    whole = run_upscale(plan_for(source, tmp_path / "whole.mkv", **wish))
    told: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(Upscaler, "__init__", tight)
        report = run_upscale(plan_for(source, tmp_path / "tiles.mkv", **wish), on_event=told.append)
    assert (report.frames_in, report.frames_out, report.verified) == (4, 4, True)
    noted = [message for message in report.warnings if "tiles of 68 pixels" in message]
    assert len(noted) == 1
    assert str(told).count("tiles of 68 pixels") == 1
    assert not whole.warnings
    one, other = decode_frames(tmp_path / "tiles.mkv"), decode_frames(tmp_path / "whole.mkv")
    assert one.times == other.times


def test_the_mode_of_an_upscaler(weights: Path) -> None:
    x = torch.rand((1, 3, 8, 12), generator=torch.Generator().manual_seed(0)) * 255
    lagged = Upscaler(2, "fdiwn-m", weights, mode="lagged", device="cpu")
    assert torch.equal(lagged(x), Upscaler(2, "fdiwn-m", weights, device="cpu", backend="torch")(x))
    with pytest.raises(UsageError, match="mode"):
        Upscaler(2, mode="median")  # type: ignore[arg-type]
