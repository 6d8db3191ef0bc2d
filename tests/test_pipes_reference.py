"""Real files, from a pipe into a pipe: packet for packet what comes of the file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av
import pytest
from test_pipes import piped

import vsr

_FILES = (
    *("d04_vp9_10bit_vfr.webm", "d05_hevc_odd_sar.ts", "d12_mov_text.mp4", "d13_delayed_audio.mkv"),
    "g03_2audio_ass_attach_chapters_opengop.mkv",
)


def contents(path: Path) -> list[Any]:
    """Everything but what only the end of a file can say."""
    with av.open(str(path)) as container:
        streams: list[Any] = []
        for stream in container.streams:
            tags = {name: text for name, text in stream.metadata.items() if name != "DURATION"}
            shape = getattr(stream, "sample_aspect_ratio", None)
            streams.append((stream.type, tags, int(stream.disposition), shape))
        chapters = [(c["start"], c["end"], c["metadata"]) for c in container.chapters()]
        packets = [
            (p.stream_index, p.pts, p.size, hashlib.sha256(bytes(p)).hexdigest())
            for p in container.demux()
            if p.size
        ]
        return [streams, dict(container.metadata), chapters, packets]


@pytest.mark.parametrize("name", _FILES)
def test_real_files(
    name: str, reference: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    source, file, pipe = reference / "nasty" / name, tmp_path / "file.mkv", tmp_path / "pipe.mkv"
    wishes: dict[str, Any] = {"model": "bicubic", "frames": 6}
    vsr.upscale(source, file, **wishes)
    capfdbinary.readouterr()
    with piped(tmp_path / "pipe", source.read_bytes()) as once:
        assert vsr.upscale(once, "-", **wishes).verified
    pipe.write_bytes(capfdbinary.readouterr().out)
    assert contents(pipe) == contents(file)
