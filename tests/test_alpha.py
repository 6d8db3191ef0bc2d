"""Transparent WebM: alpha that VP8 and VP9 have beside the picture is read, enlarged and kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import vsr
from vsr.errors import BackendError
from vsr.media import source
from vsr.media.probe import probe

FRAMES = 12
ENCODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def alpha_of(index: int, scale: int = 1) -> NDArray[np.uint8]:
    """A bar that moves by two pixels a frame."""
    alpha = np.zeros((48 * scale, 64 * scale), np.uint8)
    alpha[10 * scale : 30 * scale, 2 * index * scale : (2 * index + 24) * scale] = 255
    return alpha


@pytest.fixture(scope="module", params=ENCODERS)
def transparent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alpha") / f"{request.param}.webm"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(ENCODERS[request.param], rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        stream.options = {"auto-alt-ref": "0", "crf": "4", "b": "2M", "g": "5"}
        for index in range(FRAMES):
            picture = np.full((48, 64, 4), 180, np.uint8)
            picture[..., 3] = alpha_of(index)
            frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format="yuva420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def alphas(path: Path, decoder: str | None = None) -> list[NDArray[Any]]:
    """Alpha of each frame, 8 bits."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context: Any = stream.codec_context
        if decoder is not None:
            context = av.CodecContext.create(decoder, "r")
        frames = [f for packet in container.demux(stream) for f in context.decode(packet)]
    return [f.reformat(format="rgba").to_ndarray()[..., 3] for f in frames]


def near(found: list[NDArray[Any]], first: int = 0) -> bool:
    """Whether these are the bars from frame ``first`` on, twice as large, but for their edges."""
    wrong = [
        np.mean(np.abs(alpha.astype(int) - alpha_of(first + i, 2)) > 40)
        for i, alpha in enumerate(found)
    ]
    return max(wrong) < 0.03


def test_it_is_seen(transparent: Path) -> None:
    [video] = probe(str(transparent)).videos
    assert video.format.name == "yuva420p"


def test_it_is_kept_in_webm(transparent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.webm"
    report = vsr.upscale(str(transparent), str(out), model="bicubic", device="cpu")
    assert report.frames_out == FRAMES
    found = alphas(out, "libvpx-vp9")
    assert len(found) == FRAMES
    assert near(found)
    with av.open(str(out)) as container:
        # Of the track, not a tag beside it.
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"
    # And is found again there.
    again = tmp_path / "again.mov"
    vsr.upscale(str(out), str(again), model="bicubic", device="cpu", codec="prores")
    assert alphas(again)[0][60, 30] > 200 > 50 > alphas(again)[0][4, 4]


def test_it_is_kept_from_the_middle_on(transparent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mov"
    vsr.upscale(
        str(transparent), str(out), model="bicubic", device="cpu", codec="prores", start=0.28,
        frames=4,
    )  # fmt: skip
    found = alphas(out)
    assert len(found) == 4
    assert near(found, 7)


def test_it_is_named_where_there_is_none(transparent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    report = vsr.upscale(str(transparent), str(out), model="bicubic", device="cpu", codec="h264")
    assert any(loss.startswith("alpha channel") for loss in report.given_up)
    with av.open(str(out)) as container:
        assert "ALPHA_MODE" not in {key.upper() for key in container.streams.video[0].metadata}


def test_without_a_decoder_for_it_the_error_says_so(
    transparent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_KNOWS_ALPHA", dict.fromkeys(ENCODERS, "libnone"))
    with pytest.raises(BackendError, match="can only be decoded by libnone"):
        probe(str(transparent))
