"""Signals mean with ``--ray`` what they mean without it. A stand-in takes Ray's place."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from synth import make_clip

from pipelines.distributed.cluster import Cluster
from vsr.cli.entry import run
from vsr.errors import BackendError


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have a module ``ray`` that does as Ray does with SIGTERM, and then something else."""

    def stand_in(then: Callable[[], object]) -> None:
        def init(*_: object, **__: object) -> None:
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
            then()

        module = SimpleNamespace(is_initialized=lambda: False, init=init)
        monkeypatch.setitem(sys.modules, "ray", module)

    return stand_in


def fail() -> None:
    raise ConnectionError("nobody is there")


def test_handlers_stay(ray: Callable[[Callable[[], object]], None]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    ray(lambda: None)
    assert Cluster().ray is sys.modules["ray"]
    ray(fail)
    with pytest.raises(BackendError, match="no Ray cluster at 'auto': nobody is there"):
        Cluster()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_while_ray_connects_stops_the_run(
    ray: Callable[[Callable[[], object]], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ray(lambda: signal.raise_signal(signal.SIGTERM))
    clip = make_clip(tmp_path / "in.mkv", frames=3)
    out = str(tmp_path / "out.mkv")
    assert run(["upscale", str(clip.path), "-o", out, "--ray", "auto"]) == 143
    assert capsys.readouterr() == ("", "stopped: by SIGTERM\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_a_signal_on_the_cluster_stops_the_run(
    ray: Callable[[Callable[[], object]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ray(lambda: None)
    work = lambda *_, **__: signal.raise_signal(signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr(Cluster, "choose_device", work)
    clip = make_clip(tmp_path / "in.mkv", frames=3)
    assert run(["upscale", str(clip.path), "--model", "bicubic", "--ray", "auto"]) == 143
    assert capsys.readouterr() == ("", "stopped: by SIGTERM\n")
