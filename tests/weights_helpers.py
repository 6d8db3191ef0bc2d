"""What several tests of weights need: an untrained checkpoint, and what a run says it used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from synth import Clip

from vsr.cli.entry import run
from vsr.models.fdiwn import Fdiwn

__all__ = ["QUICK", "files", "plan_of", "untrained"]

QUICK = ["--frames", "1", "--no-verify", "-x", "preset=ultrafast"]


def untrained(path: Path, scale: int = 3) -> Path:
    """FDIWN weights as PyTorch writes them."""
    torch.manual_seed(scale)
    torch.save(Fdiwn(scale).state_dict(), path)
    return path


def files(folder: Path) -> list[str]:
    """Relative paths of all files below ``folder``, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def plan_of(clip: Clip, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Model and report of a short run, as ``vsr upscale --json`` tells them."""
    out = clip.path.with_name("out.mp4")
    assert run(["upscale", str(clip.path), "-o", str(out), "-y", "--json", *QUICK, *arguments]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {"model": events[0]["plan"]["model"], "report": events[-1]["report"]}
