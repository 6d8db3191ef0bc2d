"""Opening a file for reading, with errors that say what is wrong with it."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import Container, InputContainer
from av.video.codeccontext import VideoCodecContext

from vsr.errors import BackendError, InputError
from vsr.media.av_errors import map_av_error
from vsr.media.demux.depth import open_options
from vsr.media.ebml import elements
from vsr.media.pipes.source import open_pipe
from vsr.types import ChromaSite
from vsr.types.place import is_once, on_disk

__all__ = [
    "decoder_of",
    "ffmpeg_name",
    "hidden_borders",
    "open_source",
    "read_through",
    "tagged_site",
    "video_stream",
]

# FFmpeg would "play" any text file as the screen of a terminal.
_NOT_VIDEO = {"tty": "it is a text file", "bin": "it is not a media file"}

# FFmpeg's own prefix for files; what follows it is a path, whatever is in it.
_FILE = "file:"

# Codecs whose alpha is a second picture -> decoders that look at it.
_KNOWS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# AV_CODEC_FLAG_UNALIGNED.
_UNALIGNED = 1 << 0

# Matroska's way to a track's picture, and what of it is not to be shown: at the top, the bottom,
# the left and the right (RFC 9559, 5.1.4.1.28).
_TO_PICTURE = (0x18538067, 0x1654AE6B, 0xAE, 0xE0)
_CROPS = (0x54BB, 0x54AA, 0x54CC, 0x54DD)
# Of its colours, where chroma lies across and down: 1 is on the luma sample, 2 between two.
_COLOUR, _ACROSS, _DOWN = 0x55B0, 0x55B7, 0x55B8
_SITES = {(1, 1): ChromaSite.TOPLEFT, (2, 2): ChromaSite.CENTER}

# Paths that are not files of this machine, and what gives a file-like object for each.
_THROUGH: dict[str, Callable[[], Any]] = {}


@contextmanager
def read_through(path: str, opener: Callable[[], Any]) -> Iterator[None]:
    """While the block lasts, :func:`open_source` of ``path`` reads what ``opener`` gives.

    For sources that are somewhere else. Each call of ``opener`` gives a new binary file-like
    object with ``name``, ``read``, ``seek`` and ``tell``, at its beginning; what its methods
    raise comes out of FFmpeg's calls. Holds for all threads of the process.
    """
    _THROUGH[path] = opener
    try:
        yield
    finally:
        del _THROUGH[path]


def ffmpeg_name(path: str) -> str:
    """What to call ``path`` (a file, or a URL) towards FFmpeg.

    To FFmpeg, all before a colon is a protocol, as in ``Alien: Covenant.mkv``, unless a slash comes
    first. Other paths and URLs stay as they are.
    """
    if "://" in path or ":" not in path.partition("/")[0]:
        return path
    return _FILE + path


def open_source(path: str, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open ``path`` (a file, a pipe, or a URL of a protocol that FFmpeg has).

    Args:
        path: what to open; ``-`` is standard input.
        hwaccel: decode what can be decoded so on a device.

    Raises:
        InputError: there is no such file, it is empty, a folder, not a media file, or broken; the
            error says which.
    """
    opener = _THROUGH.get(path)
    if opener is None and is_once(path):
        opener = partial(open_pipe, path)
    local = opener is None and "://" not in path
    if local:
        _check_file(path)
    try:
        # Tags in an unknown encoding must not make a file unreadable.
        file = ffmpeg_name(path) if opener is None else opener()
        container = av.open(file, "r", metadata_errors="replace", hwaccel=hwaccel)
        if local and (options := open_options(path, file, container)):
            container.close()
            container = av.open(
                file, "r", metadata_errors="replace", hwaccel=hwaccel, options=options
            )
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, av.error.InvalidDataError) and _lacks_moov(path):
            raise InputError(
                "its index (the 'moov' atom) is missing: the recording or download stopped before "
                "it was finished",
                where=path,
                remedy="Copy it again; if there is no better copy, `untrunc` may rebuild the index "
                "with the help of a whole file from the same camera or program.",
            ) from error
        raise map_av_error(error, path, "open the file") from error
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise InputError(
            f"{_NOT_VIDEO[container.format.name]}, not a video", where=path, remedy="Name a video."
        )
    for stream in container.streams.video:
        if stream.codec_context is not None:
            # Else decoders leave columns in the picture that the bitstream cuts off on its left,
            # where what remains would not begin at an aligned address.
            stream.codec_context.flags |= _UNALIGNED
    return container


def video_stream(container: InputContainer, index: int) -> av.VideoStream:
    """The video stream with this index in the file.

    Raises:
        InputError: it is not a video stream, or no decoder knows it.
    """
    stream = container.streams[index] if 0 <= index < len(container.streams) else None
    if not isinstance(stream, av.VideoStream) or stream.codec_context is None:
        videos = ", ".join(str(s.index) for s in container.streams.video) or "none"
        raise InputError(
            f"stream {index} is not a video stream that can be decoded",
            where=_shown(container),
            remedy=f"Its video streams are: {videos}.",
        )
    return stream


def _shown(container: Container) -> str:
    """The name of a file for people, without what :func:`ffmpeg_name` put before it."""
    name: str = container.name
    return name if "://" in name else name.removeprefix(_FILE)


def decoder_of(stream: av.VideoStream, threads: str = "AUTO") -> VideoCodecContext:
    """What decodes a video stream: FFmpeg's choice, unless that leaves out its alpha.

    Of VP8 and VP9, Matroska and WebM hold alpha beside the picture, as a second one. FFmpeg's own
    decoders pass it over; libvpx does not.

    Args:
        stream: of a file that is open.
        threads: kind of threads, as PyAV names them.

    Raises:
        BackendError: this build of FFmpeg has no decoder that knows its alpha.
    """
    decoder = stream.codec_context
    name = _KNOWS_ALPHA.get(decoder.codec.canonical_name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name is not None and tags.get("alpha_mode") == "1":
        try:
            decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
        except av.codec.codec.UnknownCodecError as error:
            raise BackendError(
                f"its transparency can only be decoded by {name}, which this build of PyAV lacks",
                where=_shown(stream.container),
                remedy="Install PyAV from its wheels: pip install --force-reinstall av.",
            ) from error
        decoder.extradata = stream.codec_context.extradata
    decoder.thread_type = threads
    return decoder


def hidden_borders(stream: av.VideoStream) -> tuple[int, int, int, int]:
    """How many rows at top and bottom, and columns left and right, the container has players hide.

    Matroska and MP4 can say so; decoders give the whole picture all the same. A codec that Matroska
    cannot hold counts as not cropped.
    """
    values = {name: int.from_bytes(content, "big") for name, content in _picture(stream)}
    top, bottom, left, right = (values.get(name, 0) for name in _CROPS)
    return top, bottom, left, right


def tagged_site(stream: av.VideoStream) -> ChromaSite:
    """Where chroma lies, if bitstream or container say that it is centred or at the top left.

    Left, which is the rule, comes out as unspecified: FFmpeg reports it for H.264 and HEVC that say
    nothing, too. A codec that Matroska cannot hold counts as untagged.
    """
    colour = next((content for name, content in _picture(stream) if name == _COLOUR), b"")
    values = {name: int.from_bytes(content, "big") for name, content in elements(colour)}
    sited = (values.get(_ACROSS, 0), values.get(_DOWN, 0))
    return _SITES.get(sited, ChromaSite.UNSPECIFIED)


def _picture(stream: av.VideoStream) -> list[tuple[int, bytes]]:
    """What the container and the first pictures say about all of them, as Matroska's elements.

    PyAV does not tell, but copies it with the other parameters of a stream: into a Matroska header
    in memory, and what that says can be read.
    """
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska") as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return []
    data = file.getvalue()
    for master in _TO_PICTURE:
        data = next((content for name, content in elements(data) if name == master), b"")
    return list(elements(data))


def _check_file(path: str) -> None:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise map_av_error(error, path, "open the file") from error
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise InputError(
            "the file is empty (0 bytes)", where=path, remedy="Copy or download it again."
        )


def _lacks_moov(path: str) -> bool:
    """Whether this is an ISO base media file (ISO/IEC 14496-12) without a ``moov`` box."""
    file = Path(path)
    if not on_disk(path) or not file.is_file():
        return False
    with file.open("rb") as data:
        end, at, seen = file.stat().st_size, 0, False
        while at + 8 <= end:
            data.seek(at)
            header = data.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == b"moov":
                return False
            if kind not in (b"ftyp", b"mdat", b"free", b"wide", b"skip", b"uuid", b"moof", b"sidx"):
                break
            seen = True
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            if size == 0:  # to the end of the file
                break
            at += max(size, 8)
        return seen
