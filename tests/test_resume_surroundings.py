"""Jobs around which something changes: their source, their folder, another run, a bad disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from independent import decode_frames
from segment_jobs import Stop, plan_for, stop_at
from synth import make_clip

import pipelines.segments.kept
from pipelines.events import Event, Progress
from pipelines.segments.ledger import ledger_folder
from pipelines.segments.worker import segment_path
from pipelines.upscale import run_upscale
from vsr.errors import InputError, OutputError, VsrError
from vsr.types import Plan

pytestmark = pytest.mark.usefixtures("short")


def _clips(folder: Path) -> tuple[Path, Path]:
    """A clip, and another to put in its place."""
    one = make_clip(folder / "in.mkv", frames=30, options={"g": "8"})
    other = make_clip(folder / "other.mkv", frames=30, options={"g": "8", "qp": "40"})
    assert decode_frames(one.path) != decode_frames(other.path)
    return one.path, other.path


def _at(frames: int, act: Callable[[], Any]) -> Callable[[Event], None]:
    """A listener that acts once, when so many frames are done."""
    left = [act]

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.frames >= frames and left:
            left.pop()()

    return listen


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 1000)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("how", ["replaced", "longer"])
def test_a_source_that_changes_meanwhile_gives_no_result(
    how: str, resume: bool, tmp_path: Path
) -> None:
    source, other = _clips(tmp_path)
    out = tmp_path / "out.mkv"

    def change() -> None:
        if how == "replaced":
            other.replace(source)
        else:
            _append(source)

    with pytest.raises(InputError, match="was changed while the job was at work") as caught:
        run_upscale(plan_for(source, out), on_event=_at(10, change), resume=resume)
    assert caught.value.where == str(source)
    assert not out.exists()
    report = run_upscale(plan_for(source, out))
    assert (report.frames_out, report.resumed_frames) == (30, 0)
    whole = tmp_path / "whole.mkv"
    run_upscale(plan_for(source, whole))
    assert decode_frames(out) == decode_frames(whole)
    assert {p.name for p in tmp_path.iterdir()} <= {"in.mkv", "other.mkv", "out.mkv", "whole.mkv"}


def test_what_was_made_of_a_changed_source_is_not_kept(tmp_path: Path) -> None:
    source, other = _clips(tmp_path)
    out, kept = tmp_path / "out.mkv", tmp_path / "kept.mkv"
    shutil.copy2(source, kept)
    with pytest.raises(InputError):
        run_upscale(plan_for(source, out), on_event=_at(17, lambda: shutil.copy(other, source)))
    assert segment_path(ledger_folder(str(out)), 0).exists()
    shutil.copy2(kept, source)  # with its time, as if nothing had been
    report = run_upscale(plan_for(source, out))
    assert report.resumed_frames in (8, 16)  # the second may have been finished before
    whole = tmp_path / "whole.mkv"
    run_upscale(plan_for(source, whole))
    assert decode_frames(out) == decode_frames(whole)


def test_a_source_that_changes_while_it_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = _clips(tmp_path)
    out = tmp_path / "out.mkv"
    look = pipelines.segments.kept.cut_job

    def looked(plan: Plan) -> Any:
        cut = look(plan)
        _append(source)
        return cut

    monkeypatch.setattr(pipelines.segments.kept, "cut_job", looked)
    with pytest.raises(InputError, match="was changed"):
        run_upscale(plan_for(source, out))
    assert not out.exists()


def test_a_second_run_while_the_first_still_looks_through_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = _clips(tmp_path)
    out = tmp_path / "out.mkv"
    look = pipelines.segments.kept.cut_job

    def looked(plan: Plan) -> Any:
        with pytest.raises(OutputError, match="another vsr is at work"):
            run_upscale(plan)
        return look(plan)

    monkeypatch.setattr(pipelines.segments.kept, "cut_job", looked)
    assert run_upscale(plan_for(source, out)).frames_out == 30
    assert not ledger_folder(str(out)).exists()


def test_a_source_that_cannot_be_looked_through_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = _clips(tmp_path)
    out = tmp_path / "out.mkv"

    def broken(_plan: Plan) -> Any:
        raise InputError("it cannot be read", where=str(source))

    monkeypatch.setattr(pipelines.segments.kept, "cut_job", broken)
    with pytest.raises(InputError, match="cannot be read"):
        run_upscale(plan_for(source, out))
    assert not ledger_folder(str(out)).exists()


def test_a_disk_that_cannot_be_read_for_once_costs_no_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = _clips(tmp_path)
    out = tmp_path / "out.mkv"
    with monkeypatch.context() as patch:
        stop_at(patch, 800, Stop())
        with pytest.raises(Stop):
            run_upscale(plan_for(source, out))
    first = segment_path(ledger_folder(str(out)), 0)
    original = Path.open

    def failing(self: Path, *how: Any, **more: Any) -> Any:
        if self == first:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return original(self, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        with pytest.raises(OutputError, match="input/output error"):
            run_upscale(plan_for(source, out))
    assert run_upscale(plan_for(source, out)).resumed_frames == 16


def test_the_error_is_the_one_that_came_first_if_the_folder_is_gone(tmp_path: Path) -> None:
    source, _ = _clips(tmp_path)
    out = tmp_path / "out.mkv"
    folder = ledger_folder(str(out))
    with pytest.raises(VsrError, match="the file of a segment"):
        run_upscale(plan_for(source, out), on_event=_at(10, lambda: shutil.rmtree(folder)))
    assert not out.exists()
