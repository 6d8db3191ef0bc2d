"""``vsr train``: exact resumption, budgets, what a run leaves behind, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from photos import make_photos

from pipelines.train import Started, settle, train
from vsr.cli.entry import run
from vsr.cli.training import _line
from vsr.errors import InputError, ModelError, OutputError, UsageError
from vsr.models.registry import load_model
from vsr.models.trunk_native import problem as native_problem
from vsr.models.weights import read_metadata, read_weights
from vsr.training.data.crops import Batches
from vsr.training.data.images import find_images
from vsr.training.data.store import prepare
from vsr.training.learner import Learner
from vsr.training.loop import Loop, Stepped, Validated
from vsr.training.recipe import RECIPES, recipe_for
from vsr.training.records import load_checkpoint
from vsr.training.settings import TrainSettings
from vsr.training.validation import validation_pairs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


def small(photos: Path, **settings: Any) -> TrainSettings:
    """A run of seconds."""
    tiny = {
        "model": "fdiwn-m", "data": str(photos), "steps": 7, "batch": 1, "patch": 8,
        "validate_every": 3, "save_every": 2,
    }  # fmt: skip
    return TrainSettings(**tiny | settings)  # type: ignore[arg-type]


def state(run: Path) -> dict[str, Any]:
    return load_checkpoint(run / "checkpoint.pt")


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Bit for bit, however deep."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b)
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{index}]")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    train(small(photos), out, command="vsr train x")
    return out


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs train two convolutions, which takes milliseconds."""
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 5])
def test_stopped_and_resumed_equals_uninterrupted(
    kill_at: int, photos: Path, tiny: None, tmp_path: Path
) -> None:
    """Events come after steps 2, 3 (and its validation), 4, 6 (and its validation), 7."""
    whole, count = tmp_path / "whole", 0
    train(small(photos), whole)

    def stop(event: object) -> None:
        nonlocal count
        count += isinstance(event, Stepped | Validated)
        if count == kill_at:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(small(photos), tmp_path / "run", on_event=stop)
    report = train(small(photos), tmp_path / "run")
    assert report.outcome.steps == 7
    ours, theirs = state(tmp_path / "run"), state(whole)
    assert_same(ours["learner"], theirs["learner"])
    assert (ours["best"], ours["best_step"]) == (theirs["best"], theirs["best_step"])
    best = [read_weights(folder / "fdiwn-m_x2.safetensors") for folder in (tmp_path / "run", whole)]
    assert_same(*best)
    logs = [(folder / "log.csv").read_text().splitlines() for folder in (tmp_path / "run", whole)]
    columns = [[line.split(",")[:4] for line in log] for log in logs]
    assert columns[0] == columns[1]
    assert [line[0] for line in columns[1]] == ["step", "2", "3", "4", "6", "7"]


def command(photos: Path, out: Path) -> list[str]:
    code = "from vsr.cli import main; main()"
    line = (
        f"train --model fdiwn-m --data {photos} --out {out} --steps 7 --batch 2 --patch 8 "
        "--validate-every 3 --save-every 2 --precision float32 --json"
    )
    return [sys.executable, "-c", code, *line.split()]


@pytest.mark.parametrize("threads", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(
    threads: int, photos: Path, tmp_path: Path
) -> None:
    """SIGKILL, which nothing can prepare for, in the middle of a run."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(
        command(photos, killed), stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "stepped" and event["step"] >= 4:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert state(killed)["learner"]["step"] < 7
    for out in (killed, whole):
        done = subprocess.run(
            command(photos, out), env=environment, capture_output=True, text=True, check=True
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert said[-1]["report"]["outcome"]["steps"] == 7
        how = next(event["how"] for event in said if event["event"] == "started")
        assert how.startswith("trunk in C++") == (native_problem(torch.float32) is None)
    assert_same(state(killed)["learner"], state(whole)["learner"])
    weights = [read_weights(out / "fdiwn-m_x2.safetensors") for out in (killed, whole)]
    assert_same(*weights)


def test_a_finished_run_has_nothing_to_do(photos: Path, whole: Path) -> None:
    before = (whole / "checkpoint.pt").read_bytes()
    report = train(small(photos), whole)
    assert report.outcome.steps == 7
    assert report.outcome.step_ms == 0
    assert (whole / "checkpoint.pt").read_bytes() == before


def test_weights_say_what_they_are_and_run(whole: Path) -> None:
    path = whole / "fdiwn-m_x2.safetensors"
    metadata = read_metadata(path)
    assert metadata["model"] == "fdiwn-m"
    assert metadata["scale"] == "2"
    assert metadata["command"] == "vsr train x"
    assert metadata["seed"] == "1"
    assert {"steps", "data", "licence", "training", "validation_psnr_y"} <= metadata.keys()
    assert float(metadata["validation_psnr_y"]) == pytest.approx(state(whole)["best"], abs=1e-3)
    loaded = load_model("fdiwn-m", 2, path)
    assert loaded(torch.rand(1, 3, 8, 8) * 255).shape == (1, 3, 16, 16)


def test_a_run_leaves_what_it_says(whole: Path) -> None:
    names = {p.name for p in whole.iterdir()}
    assert {"checkpoint.pt", "fdiwn-m_x2.safetensors", "log.csv", "settings.json"} <= names
    assert not [name for name in names if name.endswith(".part")]


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "charbonnier", "optimiser": "adamw", "weight_decay": 0.01, "schedule": "paper"},
        {"precision": "bfloat16", "clip": 0.0, "detail": 1},
        {"optimiser": "adam", "loss": "psnr"},
        {"scale": 3},
        {"degrade": "video"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_options_train(settings: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    report = train(small(photos, steps=2, **settings), tmp_path)
    assert report.outcome.steps == 2
    assert report.outcome.skipped == 0
    assert report.outcome.best_psnr >= report.outcome.first_psnr > 15


def test_training_learns(photos: Path, tmp_path: Path) -> None:
    settings = small(photos, steps=30, validate_every=10, patch=12, rate=1e-3, average=0.8)
    outcome = train(settings, tmp_path).outcome
    assert outcome.best_psnr > outcome.first_psnr + 0.1


def test_starts_from_another_scale(photos: Path, whole: Path, tmp_path: Path) -> None:
    start = str(whole / "fdiwn-m_x2.safetensors")
    report = train(small(photos, scale=3, steps=1, start_from=start), tmp_path)
    assert "from fdiwn-m_x2.safetensors" in read_metadata(Path(report.weights))["training"]
    with pytest.raises(ModelError, match="no such weights file"):
        train(small(photos, start_from="gone.safetensors"), tmp_path / "b")


def test_validates_on_a_folder_of_its_own(photos: Path, tiny: None, tmp_path: Path) -> None:
    other = make_photos(tmp_path / "other", count=2, height=40, width=48)
    started = []
    train(small(photos, steps=1, validation=str(other)), tmp_path / "run", on_event=started.append)
    begun = next(e for e in started if type(e).__name__ == "Started")
    assert (begun.training, begun.validation, begun.step) == (3, 2, 0)  # type: ignore[attr-defined]


def test_another_run_in_the_folder_is_not_touched(photos: Path, whole: Path) -> None:
    with pytest.raises(UsageError, match=r"rate: 0\.001 instead of 0\.0008") as caught:
        train(small(photos, rate=1e-3), whole)
    assert "--start-from" in caught.value.remedy


def test_changed_images_are_noticed(tiny: None, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    train(small(folder, steps=2), tmp_path / "run")
    make_photos(folder, count=4)
    with pytest.raises(UsageError, match="images have changed"):
        train(small(folder, steps=2), tmp_path / "run")


def test_errors_leave_no_run_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        train(small(tmp_path / "empty"), tmp_path / "run")
    with pytest.raises(InputError, match="no such folder"):
        train(small(tmp_path / "gone"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    photos = make_photos(tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder cannot be made"):
        train(small(photos), tmp_path / "file" / "run")
    with pytest.raises(InputError, match="smaller than a patch"):
        train(small(photos, patch=48), tmp_path / "run")


class _Clock:
    """Time that passes only when a batch is taken: a second each, or what ``pace`` says."""

    def __init__(self, pace: Callable[[int], float]) -> None:
        self.now, self.taken, self.pace = 0.0, 0, pace

    def __call__(self) -> float:
        return self.now


class _TimedBatches(Batches):
    clock: _Clock

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.clock.now += self.clock.pace(self.clock.taken)
        self.clock.taken += 1
        return super().take()


def timed_run(
    photos: Path, folder: Path, pace: Callable[[int], float], steps: int, budget: float
) -> tuple[Loop, float]:
    """A run of a tiny network; also the time at its end."""
    images = find_images(photos)
    store = prepare(images, photos, folder.parent / "store", scale=2, patch=8)
    settings = small(
        photos, steps=steps, time_budget=budget, save_every=5, validate_every=1000, detail=1
    )
    recipe = recipe_for("fdiwn-m", 2)
    torch.manual_seed(0)
    learner = Learner(recipe.build("fdiwn-m", 2), recipe, settings, CPU)
    clock = _Clock(pace)
    folder.mkdir()
    with _TimedBatches(store, 1, 8, seed=1, detail=1, device=CPU) as batches:
        batches.clock = clock
        pairs = validation_pairs(store, 24)[:1]
        loop = Loop(learner, batches, pairs, folder, folder / "w.safetensors", {}, clock=clock)
        loop.run()
    return loop, clock.now


def test_time_budget_is_spent_exactly_if_time_is_even(
    photos: Path, tiny: None, tmp_path: Path
) -> None:
    """Some seconds go into measuring, where the first three steps are slow and do not count."""
    pace = lambda taken: 4.0 if taken < 3 else 1.0  # noqa: E731
    loop, now = timed_run(photos, tmp_path / "run", pace, 0, 40)
    assert loop.learner.step == loop.schedule.total == 40 - 3 * 4 - 7
    assert now == 40
    assert loop.schedule.since == 0


def test_time_budget_is_kept_on_a_machine_that_slows_down(
    photos: Path, tiny: None, tmp_path: Path
) -> None:
    pace = lambda taken: 1.0 if taken < 20 else 2.0  # noqa: E731
    loop, now = timed_run(photos, tmp_path / "run", pace, 0, 60)
    assert loop.learner.step == loop.schedule.total < 50
    assert 55 <= now <= 66


def test_measuring_leaves_no_trace(photos: Path, tiny: None, tmp_path: Path) -> None:
    """A run that was given a time equals the run that is given its number of steps."""
    by_time, _ = timed_run(photos, tmp_path / "a", lambda _: 1.0, 0, 16)
    by_steps, _ = timed_run(photos, tmp_path / "b", lambda _: 1.0, 6, 0)
    assert by_time.learner.step == 6
    assert_same(by_time.learner.state_dict(), by_steps.learner.state_dict())


def test_a_step_with_a_broken_gradient_is_left_out(photos: Path, tiny: None) -> None:
    recipe = recipe_for("fdiwn-m", 2)
    learner = Learner(recipe.build("fdiwn-m", 2), recipe, small(photos), CPU)
    before = {name: value.clone() for name, value in learner.net.state_dict().items()}
    lr, hr = torch.rand(1, 3, 8, 8) * 255, torch.rand(1, 3, 16, 16) * 255
    learner.update(torch.full_like(lr, torch.nan), hr, 1e-3)
    assert learner.skipped == 1
    assert_same(before, dict(learner.net.state_dict()))
    learner.update(lr, hr, 1e-3)
    assert learner.skipped == 1
    assert not torch.equal(before["0.weight"], learner.net.state_dict()["0.weight"])


def test_command_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        f"train --model fdiwn-m --data {photos} -o {tmp_path / 'r'} --steps 1 --batch 1 --patch 8"
    )
    assert run(line.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith(str(tmp_path / "r" / "fdiwn-m_x2.safetensors"))
    assert "waiting for data" in out
    assert "training begins on cpu: 2 pictures, 1 to validate on; trunk in " in err


def test_the_first_line_says_what_computes_the_trunk() -> None:
    text = _line(Started("cpu", 2, 1, 0, "trunk in C++ with AMX"))
    assert text == ("training begins on cpu: 2 pictures, 1 to validate on; trunk in C++ with AMX")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--data . --out r --steps 5 --time-budget 1m", 2, "exclude each other"),
        ("--data . --out r --time-budget soon", 2, "'soon' is not a length of time"),
        ("--out r", 2, "--data"),
        ("--data gone --out r", 3, "no such folder"),
        ("--data . --out r --model bicubic", 2, "no weights to train"),
        ("--data . --out r --device cuda:77", 8, "no device cuda:77"),
    ],
)
def test_wrong_requests(
    arguments: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", *arguments.split()]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_auto_is_settled() -> None:
    short, long = (settle("cpu", "auto", "auto", steps=steps) for steps in (10, 5000))
    assert not short.compiled
    assert settle("cpu", "float32", "off", steps=5000).compiled is False
    assert long.precision in ("float32", "bfloat16")


def test_where_the_trunk_is_native_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    said: dict[str, str | None] = {}
    monkeypatch.setattr("vsr.models.fdiwn_recipe.native_problem", lambda *_: said["problem"])
    for problem, compiled in ((None, False), ("it has not been built here", True)):
        said["problem"] = problem
        assert settle("cpu", "float32", "auto", steps=5000).compiled is compiled
        assert settle("cpu", "float32", "on", steps=5).compiled is True
