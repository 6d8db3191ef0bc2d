"""What tests of jobs in segments share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from independent import decode_frames, packet_hashes

from pipelines.upscale import plan_upscale
from vsr.engine.upscaler import Upscaler
from vsr.types import FrameBatch, Plan

__all__ = ["Stop", "assert_same", "plan_for", "stop_at"]


def plan_for(source: Path, destination: Path, **wishes: Any) -> Plan:
    return plan_upscale(str(source), str(destination), scale=2, model="bicubic", **wishes)


def assert_same(one: Path, other: Path, *streams: str) -> None:
    assert decode_frames(one) == decode_frames(other)
    for stream in streams:
        assert packet_hashes(one, stream) == packet_hashes(other, stream)


class Stop(KeyboardInterrupt):
    """Ctrl-C at a chosen moment."""


def stop_at(monkeypatch: pytest.MonkeyPatch, pts: int, error: BaseException) -> None:
    """Fail before the frame at ``pts`` goes through the network, once."""
    original = Upscaler.upscale
    armed = [True]

    def failing(self: Upscaler, batch: FrameBatch, *rest: Any, **how: Any) -> FrameBatch:
        if armed and batch.pts[-1] >= pts:
            armed.clear()
            raise error
        return original(self, batch, *rest, **how)

    monkeypatch.setattr(Upscaler, "upscale", failing)
