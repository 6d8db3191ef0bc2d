"""Decoding on a GPU. Without one, surfaces made on the CPU take the same way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from reading import Result, request, same
from synth import make_clip, picture, video_frame

from pipelines.reading import settle_reader
from pipelines.upscale import plan_upscale
from vsr.errors import BackendError, InputError
from vsr.media.probe import probe
from vsr.media.read import choose
from vsr.media.read.choose import check_reader, choose_reader
from vsr.media.read.gpu.nvdec import NvdecReader
from vsr.media.read.gpu.semi_planar import unpack_semi_planar
from vsr.media.read.pyav_reader import PyAVReader
from vsr.media.read.reader import ReadRequest
from vsr.types import pixel_format

_SURFACES = {"yuv420p": "nv12", "yuv420p10le": "p010le", "yuv420p12le": "p016le"}


def planes_of(frame: av.VideoFrame) -> list[torch.Tensor]:
    return [torch.utils.dlpack.from_dlpack(plane.__dlpack__()) for plane in frame.planes]


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(64, 48), (66, 50), (2, 2), (1922, 18)])
def test_surfaces_become_the_planes_of_the_cpus_decoder(name: str, size: tuple[int, int]) -> None:
    fmt = pixel_format(name)
    expected = picture(3, fmt, *size)
    frame = video_frame(expected, name).reformat(format=_SURFACES[name])
    dtype = torch.uint8 if fmt.bits == 8 else torch.uint16
    into = [torch.zeros(p.shape, dtype=dtype) for p in expected]
    luma, chroma = planes_of(frame)
    unpack_semi_planar(luma, chroma, into, fmt.bits)
    assert same([plane.numpy() for plane in into], expected)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_every_code_survives(bits: int) -> None:
    codes = np.arange(1 << bits, dtype=np.uint16).reshape(4, -1)
    luma = torch.from_numpy(codes << (16 - bits))
    chroma = torch.from_numpy(np.stack([codes, codes[::-1]], axis=-1) << (16 - bits))
    into = [torch.zeros(codes.shape, dtype=torch.uint16) for _ in range(3)]
    unpack_semi_planar(luma, chroma, into, bits)
    assert same([plane.numpy() for plane in into], [codes, codes, codes[::-1]])


class _Surfaces:
    """A decoder on the CPU whose frames are semi-planar, as a GPU's are."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def flush_buffers(self) -> None:
        self._decoder.flush_buffers()

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        frames = []
        for frame in self._decoder.decode(packet):
            surface = frame.reformat(format=_SURFACES[frame.format.name])
            surface.pts, surface.dts, surface.time_base = frame.pts, frame.dts, frame.time_base
            surface.duration = frame.duration
            frames.append(surface)
        return frames


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nvdec`` with a decoder and memory of the CPU in place of the GPU's."""

    def source(self: NvdecReader, threads: str) -> Any:
        container, stream, decoder = PyAVReader._source(self, threads)
        return container, stream, _Surfaces(decoder)

    monkeypatch.setattr(NvdecReader, "_source", source)
    monkeypatch.setattr(NvdecReader, "available", lambda: None)
    monkeypatch.setattr(NvdecReader, "problem", lambda _: None)


CLIPS: list[tuple[str, dict[str, Any]]] = [
    ("a.mp4", {"options": {"bf": "3", "b_strategy": "0", "preset": "medium"}}),
    ("a.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"bf": "2"}}),
    ("a.webm", {"codec": "libvpx-vp9"}),
    ("b.mp4", {"codec": "libx265", "width": 322, "height": 242}),
]


def assert_equal(path: Path, reader: str, **options: Any) -> None:
    """All that ``reader`` gives is what the CPU's gives."""
    info = probe(str(path))
    side = tuple(s.index for s in info.streams if s.kind in ("audio", "subtitle"))
    req = ReadRequest(str(path), info.videos[0], side_streams=side, **options)
    expected, got = Result(req), Result(req, reader)
    assert got.pts == expected.pts
    assert got.durations == expected.durations
    assert all(same(a, b) for a, b in zip(got.frames, expected.frames, strict=True))
    assert [(s.stream, bytes(s.packet)) for s in got.side] == [
        (s.stream, bytes(s.packet)) for s in expected.side
    ]
    assert got.stats == expected.stats


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize(("name", "how"), CLIPS)
def test_everything_but_the_decoder_is_the_cpu_readers(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    pts = [100, 140, 180, 181, 260, 300, 333, 380, 420, 470, 500, 520, 600]
    clip = make_clip(
        tmp_path / name, frames=13, pts=pts, time_base=Fraction(1, 1000), audio="libopus", **how
    )
    assert_equal(clip.path, "nvdec", batch=4)
    video = probe(str(clip.path)).videos[0]
    trim = replace(
        request(clip.path).trim, start=round(pts[6] * Fraction(1, 1000) / video.time_base), frames=5
    )
    assert_equal(clip.path, "nvdec", batch=3, trim=trim)


@pytest.mark.usefixtures("on_the_cpu")
def test_a_change_of_size_is_the_same_error(tmp_path: Path) -> None:
    data = b""
    for width, height in ((64, 48), (96, 80)):
        part = make_clip(tmp_path / f"{width}.h264", width=width, height=height, frames=10)
        data += part.path.read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(data)
    with pytest.raises(InputError, match="changes from 64x48 yuv420p to 96x80 nv12") as caught:
        Result(request(path, batch=4), "nvdec")
    assert "frame 10, pts" in caught.value.where


def clip_request(tmp_path: Path, device: str = "cuda:0", **options: Any) -> ReadRequest:
    clip = make_clip(tmp_path / "a.mp4", **options)
    return request(clip.path, device=device)


def test_what_it_cannot_do_exactly_it_says(tmp_path: Path) -> None:
    plain = clip_request(tmp_path)
    assert NvdecReader.problem(plain) is None

    def refused(**changes: Any) -> str:
        own = {name: changes.pop(name) for name in ("device", "deinterlace", "on_resize")
               if name in changes}  # fmt: skip
        wanted = replace(plain, video=replace(plain.video, **changes), **own)
        return NvdecReader.problem(wanted) or ""

    assert "runs on the cpu" in refused(device="cpu")
    assert "not mpeg2video" in refused(codec="mpeg2video")
    assert "not yuv422p" in refused(format=pixel_format("yuv422p"), native_format="yuv422p")
    assert "8 bits, not 10" in refused(format=pixel_format("yuv420p10le"))
    assert refused(format=pixel_format("yuv420p10le"), codec="hevc") == ""
    assert "8 or 10 bits, not 12" in refused(format=pixel_format("yuv420p12le"), codec="av1")
    assert "65x48 is odd" in refused(width=65)
    assert "deinterlaced" in refused(interlaced=True)
    assert "deinterlaced" in refused(deinterlace=True)
    assert "scaled" in refused(on_resize="scale")


@pytest.mark.usefixtures("on_the_cpu")
def test_auto_takes_it_only_if_its_first_frame_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = clip_request(tmp_path)
    monkeypatch.setattr("vsr.media.read.gpu.planes.empty_planes", host_planes)
    monkeypatch.setattr(torch.cuda, "Event", lambda: _Event())
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _: None)
    name, why = choose_reader(right)
    assert name == "nvdec"
    assert why.startswith("its first frame is the CPU's, sample for sample")
    assert choose_reader(replace(right, device="cpu")) == ("pyav", "")

    def shifted(luma: Any, chroma: Any, into: Any, bits: int) -> None:
        unpack_semi_planar(luma, chroma, into, bits)
        into[1][:, 1:] = into[1][:, :-1].clone()

    monkeypatch.setattr("vsr.media.read.gpu.nvdec.unpack_semi_planar", shifted)
    name, why = choose_reader(right)
    assert name == "pyav"
    assert why == "not nvdec: the samples of its first frame are not the CPU's"
    with pytest.raises(BackendError, match="'nvdec' cannot read this: the samples"):
        check_reader("nvdec", right)

    def broken(*_: Any) -> None:
        raise BackendError("no such profile")

    monkeypatch.setattr("vsr.media.read.gpu.nvdec.unpack_semi_planar", broken)
    assert choose_reader(right)[1] == "not nvdec: its first frame failed (no such profile)"

    def unknown(*_: Any) -> None:
        raise RuntimeError("unsupported sw_format for DLPack export")

    monkeypatch.setattr("vsr.media.read.gpu.nvdec.unpack_semi_planar", unknown)
    name, why = choose_reader(right)
    assert (name, "unsupported sw_format" in why) == ("pyav", True)


class _Refusing:
    """The decoder of a card that does not know the profile."""

    def __init__(self) -> None:
        self.asked = 0

    def flush_buffers(self) -> None: ...

    def decode(self, _: Any) -> list[av.VideoFrame]:
        self.asked += 1
        raise av.error.InvalidDataError(1, "no such profile")


@pytest.mark.usefixtures("on_the_cpu")
def test_a_card_that_knows_not_the_profile_is_not_asked_for_a_whole_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = _Refusing()

    def source(self: NvdecReader, threads: str) -> Any:
        container, stream, _ = PyAVReader._source(self, threads)
        return container, stream, decoder

    monkeypatch.setattr(NvdecReader, "_source", source)
    name, why = choose_reader(clip_request(tmp_path, frames=200))
    assert name == "pyav"
    assert "NVDEC refused the first 64 packets" in why
    assert decoder.asked == 64


class _Event:
    def record(self, stream: object) -> None: ...

    def synchronize(self) -> None: ...


def host_planes(request: ReadRequest, device: object) -> tuple[torch.Tensor, ...]:
    from vsr.media.read.storage import empty_planes

    return empty_planes(request)


def test_the_plan_says_which_reader_and_why_not_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    plan = plan_upscale(str(clip.path), str(tmp_path / "o.mp4"), model="bicubic", device="cpu")
    assert plan.reader == "pyav"
    assert all(reason.topic != "reader" for reason in plan.reasons)
    monkeypatch.setattr(NvdecReader, "available", lambda: "its fan stands still")
    settled = settle_reader(replace(plan, device="cuda:0"), "auto")
    assert settled.reader == "pyav"
    assert settled.reasons[-1].why == "not nvdec: its fan stands still"
    with pytest.raises(BackendError, match="'nvdec' cannot run here: its fan stands still"):
        plan_upscale(str(clip.path), str(tmp_path / "o.mp4"), model="bicubic", reader="nvdec")


def test_auto_ends_with_what_reads_everything() -> None:
    assert choose.AUTO_ORDER[-1] == "pyav"
    assert PyAVReader.exact


# With a GPU ---------------------------------------------------------------------------------------

cuda = pytest.mark.cuda


def in_a_thread(work: Callable[[], None]) -> None:
    """As a run does it: the file is opened in one thread and decoded in another."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@cuda
@pytest.mark.parametrize(
    ("name", "how"), [*CLIPS, ("a.mkv", {"codec": "libsvtav1"}), ("c.mp4", {"width": 130})]
)
def test_nvdec_decodes_every_sample(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    size = {"width": 256, "height": 144} | how
    clip = make_clip(tmp_path / name, frames=40, audio="libopus", **size)
    req = request(clip.path, device="cuda:0")
    chosen, why = choose_reader(req)
    if chosen != "nvdec":
        # A card may lack a codec; what it has must be right.
        assert "its first frame failed" in why
        pytest.skip(f"{name}: {why}")
    in_a_thread(lambda: assert_equal(clip.path, "nvdec", batch=8, device="cuda:0"))


@cuda
def test_nvdec_refuses_odd_sizes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", width=255, height=145)
    with pytest.raises(BackendError, match="255x145 is odd"):
        check_reader("nvdec", request(clip.path, device="cuda:0"))


@cuda
def test_nvdec_reads_reference_clips(reference: Path) -> None:
    """Every clip that it takes, whole."""
    taken = 0
    for path in sorted((reference / "clips").iterdir()):
        try:
            req = request(path, device="cuda:0")
        except InputError:
            continue
        if choose_reader(req)[0] == "nvdec":
            assert_equal(path, "nvdec", batch=8, device="cuda:0")
            taken += 1
    assert taken
