"""FFmpeg's messages are listened to only where nothing decodes beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av.logging
import pytest
from segment_jobs import plan_for
from synth import make_clip

from pipelines.upscale import run_upscale
from vsr.engine.upscaler import Upscaler
from vsr.media.write import encoder, encoder_options
from vsr.types import FrameBatch


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("resume", [True, False])
def test_nobody_listens_once_frames_come(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A decoder that is freed waits for its threads with the interpreter's lock, and they for it.
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    told: list[str] = []
    listened, enlarged = encoder_options.open_listening, Upscaler.upscale

    def listening(context: Any) -> list[str]:
        told.append("listens")
        return listened(context)

    def enlarging(self: Upscaler, batch: FrameBatch, *rest: Any, **how: Any) -> FrameBatch:
        assert av.logging.get_level() is None
        told.append("enlarges")
        return enlarged(self, batch, *rest, **how)

    monkeypatch.setattr(encoder, "open_listening", listening)
    monkeypatch.setattr(Upscaler, "upscale", enlarging)
    report = run_upscale(plan_for(clip.path, tmp_path / "out.mp4"), resume=resume)
    assert report.frames_out == 30
    last = len(told) - 1 - told[::-1].index("enlarges")
    assert "listens" in told[: told.index("enlarges")]
    assert "listens" not in told[told.index("enlarges") : last]
