"""Columns and lines that the bitstream itself cuts off."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

import vsr
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.types import FrameBatch

CROPS = [(8, 2, 0, 0), (2, 0, 4, 6), (18, 14, 10, 2), (0, 6, 0, 4)]


def cropped(path: Path, crop: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A clip of 64x48 with so much cut off at left, right, top and bottom; its luma as a whole."""
    picture = np.full((72, 64), 128, np.uint8)
    picture[:48] = np.arange(64, dtype=np.uint8) * 3
    plain = path.with_name("plain.ts")
    with av.open(str(plain), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pts in range(25):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    sides = zip(("left", "right", "top", "bottom"), crop, strict=True)
    filter_ = f"h264_metadata={':'.join(f'crop_{side}={size}' for side, size in sides)}"
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        old = source.streams.video[0]
        new = out.add_stream_from_template(old)
        rewrite = BitStreamFilterContext(filter_, old)
        for packet in source.demux(old):
            for ready in rewrite.filter(packet) if packet.size else ():
                ready.stream = new
                out.mux(ready)
    return picture[:48]


@pytest.mark.parametrize("crop", CROPS)
def test_what_is_cut_off_is_not_in_the_picture(
    crop: tuple[int, int, int, int], tmp_path: Path
) -> None:
    whole = cropped(tmp_path / "crop.ts", crop)
    left, right, top, bottom = crop
    wanted = whole[top : 48 - bottom, left : 64 - right]
    (video,) = probe(str(tmp_path / "crop.ts")).videos
    assert (video.height, video.width) == wanted.shape
    with open_reader("pyav", ReadRequest(str(tmp_path / "crop.ts"), video, batch=25)) as reader:
        (batch,) = [item for item in reader if isinstance(item, FrameBatch)]
    for plane in batch.planes[0].numpy():
        np.testing.assert_array_equal(plane, wanted)
    report = vsr.upscale(
        str(tmp_path / "crop.ts"), str(tmp_path / "out.mkv"), model="bicubic", device="cpu"
    )
    assert report.frames_out == 25
    (result,) = probe(str(tmp_path / "out.mkv")).videos
    assert (result.height, result.width) == tuple(2 * n for n in wanted.shape)
