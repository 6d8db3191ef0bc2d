"""A frame as a picture: 8-bit RGB, the right way up, at the size that is wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from vsr.errors import DecodeError
from vsr.media.color import batch_to_rgb
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.plan import Request
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import FrameBatch, Trim, VideoStreamInfo

__all__ = ["enlarge_nearest", "read_picture", "upright"]


def read_picture(path: str, video: VideoStreamInfo, pts: int) -> Tensor:
    """The frame that has a timestamp, as a screen shows it.

    Colours are read as on the command line and rounded to 8 bits; transfer and primaries stay, so
    that HDR looks dull. The display matrix is applied, the sample aspect ratio is not.

    Args:
        path: the file.
        video: its stream.
        pts: of the frame, in ticks of the stream.

    Returns:
        ``(3, H, W)`` uint8 on the CPU.

    Raises:
        InputError: the file cannot be read, or the frame does not decode.
    """
    color = decide_color(video, Request(source=path), Notes())
    request = ReadRequest(path=path, video=video, trim=Trim(start=pts, frames=1), color=color)
    with open_reader("pyav", request) as reader:
        for item in reader:
            if isinstance(item, FrameBatch) and item.pts[0] == pts:
                rgb, _ = batch_to_rgb(item)
                return upright(rgb[0].round().clamp_(0, 255).to(torch.uint8), video.display_matrix)
    seconds = float((pts - (video.start or 0)) * video.time_base)
    raise DecodeError(f"the frame at {seconds:.3f} s cannot be decoded", where=path)


def upright(picture: Tensor, matrix: tuple[int, ...] | None) -> Tensor:
    """Turn and mirror a picture as its display matrix says.

    Args:
        picture: ``(..., H, W)``.
        matrix: FFmpeg's ``AV_FRAME_DATA_DISPLAYMATRIX``: (x, y), y pointing down, is shown at
            ``(m0 x + m3 y, m1 x + m4 y)`` and moved back into view. Of matrices that do more than
            turn by quarters and mirror, the nearest that does.

    Returns:
        ``(..., H, W)`` or ``(..., W, H)``.
    """
    if matrix is None:
        return picture
    xx, yx, xy, yy = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(yx) + abs(xy) > abs(xx) + abs(yy):
        picture = picture.transpose(-2, -1)
        xx, yy = xy, yx
    mirrored = [dim for dim, sign in ((-1, xx), (-2, yy)) if sign < 0]
    return picture.flip(mirrored) if mirrored else picture


def enlarge_nearest(picture: Tensor, height: int, width: int) -> Tensor:
    """``(3, h, w)`` to ``(3, height, width)``, each sample taken from where its centre lies."""
    enlarged = torch.nn.functional.interpolate(
        picture[None].float(), (height, width), mode="nearest-exact"
    )
    return enlarged[0].to(picture.dtype)
