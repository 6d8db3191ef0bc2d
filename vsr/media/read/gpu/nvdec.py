"""Decoding on an NVIDIA GPU: PyAV with FFmpeg's NVDEC, frames stay in the GPU's memory.

Demuxing, timestamps, edit lists, parts, side packets and the accounts of damage are those of the
reader on the CPU; only the decoder and the place where frames go are others.

What is decoded here is fixed by its standard to the last bit. MPEG-1, MPEG-2, MPEG-4 part 2 and
VC-1 are not: their inverse transforms may round differently, so they are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import av
import av.error
import torch
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from torch.utils.dlpack import from_dlpack

from vsr.errors import BackendError, DecodeError
from vsr.media.av_errors import av_errors
from vsr.media.color.change import FrameColors
from vsr.media.read.gpu.planes import DevicePlanes
from vsr.media.read.gpu.semi_planar import unpack_semi_planar
from vsr.media.read.pyav_reader import PyAVReader
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.storage import Storage, note_color, other_picture
from vsr.media.source import open_source, video_stream
from vsr.types import ColorRange

__all__ = ["DeviceStorage", "NvdecReader"]

# Codec -> bit depths. Which of them a card has is found by trying.
_DEPTHS = {"h264": (8,), "hevc": (8, 10, 12), "vp9": (8, 10, 12), "av1": (8, 10)}

#: Packets without a frame after which a card is taken not to know the profile; a whole file of
#: them would be read else.
_MOST_REFUSED = 64


class NvdecReader(PyAVReader):
    """See :class:`vsr.media.read.reader.Reader`; batches are on ``request.device``.

    Damage is counted where the demuxer or the parser of the headers meets it. What is damaged
    inside of a picture's data the hardware conceals without a word, and not as FFmpeg does.
    """

    exact: ClassVar[bool] = True
    _refused_first, _given = 0, False

    @classmethod
    def available(cls) -> str | None:
        """Whether FFmpeg and torch share a CUDA device here, and if not, why."""
        return _cuda_problem()

    @classmethod
    def problem(cls, request: ReadRequest) -> str | None:
        """Why NVDEC, or the way from there to tensors, cannot do this exactly."""
        video = request.video
        depths = _DEPTHS.get(video.codec)
        if not request.device.startswith("cuda"):
            return f"the network runs on the {request.device}, where the frames would be copied to"
        if depths is None:
            return f"NVDEC decodes {', '.join(_DEPTHS)} to the bit, not {video.codec}"
        fmt = video.format
        if fmt.family != "yuv" or fmt.alpha or (fmt.log2_chroma_w, fmt.log2_chroma_h) != (1, 1):
            return f"of {video.codec} it reads 4:2:0, not {video.native_format}"
        if fmt.bits not in depths:
            return f"of {video.codec} it reads {_listed(depths)} bits, not {fmt.bits}"
        if video.width % 2 or video.height % 2:
            return f"{video.width}x{video.height} is odd, and its last row or column of chroma lost"
        if request.deinterlace or video.interlaced:
            return "the video is to be deinterlaced, which is done on the CPU"
        if request.on_resize == "scale":
            return "frames of other sizes are to be scaled, which is done on the CPU"
        return None

    def _source(self, threads: str) -> tuple[InputContainer, av.VideoStream, VideoCodecContext]:
        """The file, opened anew, and a decoder on the device; it has no use for threads."""
        accelerator = _accelerator(self._request.device)
        path = self._request.path
        if self._request.video.codec != "av1":
            container = open_source(path, accelerator)
            stream = video_stream(container, self._request.video.index)
            decoder = stream.codec_context
        else:
            # The decoder that FFmpeg takes for AV1 (dav1d) has no hardware behind it.
            container, stream, _ = super()._source(threads)
            with av_errors(path, "open the decoder", BackendError):
                decoder = av.CodecContext.create("av1", "r", accelerator)
            decoder.extradata = stream.codec_context.extradata
        decoder.thread_count = 1
        if not decoder.is_hwaccel:
            container.close()
            raise BackendError(
                f"FFmpeg has no NVDEC for {self._request.video.codec}",
                where=path,
                remedy="Use --reader pyav.",
            )
        return container, stream, decoder

    def _decode(
        self,
        packet: av.Packet[av.VideoStream],
        decoder: VideoCodecContext,
        after: int | None = None,
    ) -> list[av.VideoFrame] | None:
        frames = super()._decode(packet, decoder, after)
        self._refused_first = 0 if self._given else self._refused_first + (frames is None)
        self._given = self._given or bool(frames)
        if self._refused_first >= _MOST_REFUSED:
            raise DecodeError(
                f"NVDEC refused the first {_MOST_REFUSED} packets",
                where=self._request.path,
                remedy="Use --reader pyav.",
            )
        return frames

    def _storage(self) -> Storage:
        return DeviceStorage(self._request, self._stats)


class DeviceStorage(DevicePlanes):
    """Splits NV12 and P010 surfaces into planes in the memory of ``request.device``.

    Surfaces and planes are on the same device, and NVDEC's work is queued on its default stream,
    too.
    """

    def __init__(self, request: ReadRequest, stats: ReadStats) -> None:
        super().__init__(request)
        self._stats = stats
        self._colors = FrameColors(request.video, request.color or request.video.color)

    def put(self, frame: av.VideoFrame, at: int, place: Callable[[], str]) -> None:
        """Copy a surface into place ``at`` of the batch; see ``Storage``."""
        video = self._request.video
        bits = video.format.bits
        surface = frame.sw_format or frame.format
        expected = {8: "nv12", 10: "p010le"}.get(bits, "p016le")
        size = (frame.width, frame.height)
        if size != (video.width, video.height) or surface.name != expected:
            raise other_picture(self._request, size, surface.name, place)
        # Given a plane itself, torch names a stream, which PyAV refuses to synchronise with.
        luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes)
        planes = self._at(at)
        unpack_semi_planar(luma, chroma, planes, bits)
        reading = self._colors.of(frame, video.format, ColorRange.UNSPECIFIED)
        if note_color(reading, self._stats):
            own = [plane[None] for plane in planes]
            converted = self._colors.convert(own, video.format, reading)
            for plane, samples in zip(own, converted, strict=True):
                plane.copy_(samples)


def _accelerator(device: str) -> HWAccel:
    """NVDEC on torch's own CUDA context of ``device``, which becomes the thread's current one."""
    index = torch.device(device).index or 0
    torch.cuda.set_device(index)
    torch.zeros(1, device=f"cuda:{index}")
    return HWAccel(
        "cuda",
        device=index,
        allow_software_fallback=False,
        # FFmpeg cannot set up the primary context, which torch uses, a second time.
        options={"primary_ctx": "0", "current_ctx": "1"},
        is_hw_owned=True,
    )


@cache
def _cuda_problem() -> str | None:
    if "cuda" not in hwdevices_available():
        return "FFmpeg was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        av.CodecContext.create("h264", "r", _accelerator("cuda:0"))
    except PermissionError:  # FFmpeg's answer to a driver library that is not there
        return "NVIDIA's video decoder library (libnvcuvid) is not installed"
    except (av.error.FFmpegError, RuntimeError) as error:
        return f"FFmpeg cannot use the CUDA device: {error}"
    return None


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(str(number) for number in numbers)
