"""What a frame is weighted by: the whole of it, its quarters, the frame before; and tiles."""

from __future__ import annotations

import inspect
from fractions import Fraction
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models_fdiwn import _awkward

from vsr.engine.device import choose_device
from vsr.engine.upscaler import Upscaler
from vsr.errors import BackendError, OutOfMemoryError
from vsr.metrics import psnr
from vsr.models.fdiwn import SCALES, Variant
from vsr.models.fdiwn_inference import FdiwnInference, _Coefficient, _Gate
from vsr.models.quarters import in_quarters
from vsr.models.registry import MODELS, ModelSpec, network_class
from vsr.models.whole_frame.statistics import Area, Record, Replay, join, measure
from vsr.models.whole_frame.tiles import cut, in_tiles
from vsr.types import (
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    Matrix,
    Mode,
    pixel_format,
)

TORCH: dict[str, Any] = {"device": "cpu", "backend": "torch"}


def picture(height: int, width: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    """``(1, 3, H, W)``, 0..255: waves and hard edges, brighter to the right; moved by ``shift``."""
    random = torch.Generator().manual_seed(seed)
    y = torch.arange(float(height)).view(-1, 1)
    x = torch.arange(float(width)) + shift
    planes = []
    for _ in range(3):
        a, b, c, d = (2 * torch.rand(4, generator=random) + 0.3).tolist()
        waves = torch.sin(a * x / 9 + b * y / 7) + torch.sin(c * x / 3 - d * y / 5)
        edges = torch.sign(torch.sin(d * x / 17) * torch.sin(a * y / 13))
        planes.append(110 + 30 * waves + 25 * edges + 0.2 * (x - shift))
    return torch.stack(planes)[None].clamp(0, 255)


def network(seed: int = 0, variant: Variant = "fdiwn-m", scale: int = 2) -> FdiwnInference:
    return FdiwnInference(_awkward(variant, scale, seed))


@pytest.mark.parametrize("variant", get_args(Variant))
@pytest.mark.parametrize("scale", SCALES)
def test_replayed_statistics_give_the_same(variant: Variant, scale: int) -> None:
    net, x = network(1, variant, scale), picture(19, 22)
    record, asked = Record(), []
    for module in net.modules():
        if isinstance(module, _Gate | _Coefficient):
            module.register_forward_hook(lambda *_: asked.append(1))
    with torch.inference_mode():
        exact = net(x)
        asked.clear()
        torch.testing.assert_close(net(x, record), exact, atol=0, rtol=0)
        # Nothing measures on the side.
        assert len(asked) == len(record.measured) > 100
        assert (net(x, Replay(record.measured)) - exact).abs().max().item() < 1e-3
        others = Record(record.measured)
        other = picture(19, 22, 5)
        lagged = net(other, others)
        assert torch.equal(lagged, net(other, Replay(record.measured)))
        assert (lagged - net(other)).abs().max().item() > 0.1
        # What is measured is the frame's own, whatever was answered.
        torch.testing.assert_close(others.measured[0].mean, _first_mean(net, other))


def _first_mean(net: FdiwnInference, x: torch.Tensor) -> torch.Tensor:
    record = Record()
    net(x, record)
    return record.measured[0].mean


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 9), st.integers(1, 3)
)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_a_frame(height: int, width: int, side: int, overlap: int, scale: int) -> None:
    x = torch.arange(float(2 * 3 * height * width)).view(2, 3, height, width)
    seen = []

    def larger(part: torch.Tensor) -> torch.Tensor:
        return part.repeat_interleave(scale, -1).repeat_interleave(scale, -2)

    def enlarge(part: torch.Tensor, inside: Area) -> torch.Tensor:
        seen.append(part[:, :, inside[0], inside[1]].numel())
        assert max(part.shape[-2:]) <= side + 2 * overlap
        return larger(part)

    assert torch.equal(in_tiles(enlarge, x, scale, side, overlap), larger(x))
    assert sum(seen) == x.numel()


def test_moments_of_parts_are_those_of_the_whole() -> None:
    x = 1000 + torch.randn((2, 24, 37, 41), generator=torch.Generator().manual_seed(0))
    tiles = list(cut(37, 41, 16))
    parts = [[measure(x[:, :, rows, columns])] for rows, columns in (t.keep for t in tiles)]
    sizes = [(r.stop - r.start) * (c.stop - c.start) for r, c in (t.keep for t in tiles)]
    (joined,) = join(parts, sizes)
    whole = x.double()
    torch.testing.assert_close(joined.mean.double(), whole.mean((2, 3), keepdim=True))
    expected = whole.var((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(joined.variance.double(), expected, rtol=1e-4, atol=0)


def test_paper_is_the_network_on_quarters() -> None:
    x = torch.cat([picture(30, 45), picture(30, 45, 1)])
    exact, paper = Upscaler(2, **TORCH), Upscaler(2, **TORCH, mode="paper")
    assert torch.equal(paper(x), in_quarters(exact, x, 2))
    assert (paper(x) - exact(x)).abs().max().item() > 0.01


def test_lagged_is_exact_while_nothing_moves() -> None:
    still = picture(24, 40).expand(4, -1, -1, -1)
    exact, lagged = Upscaler(2, **TORCH), Upscaler(2, **TORCH, mode="lagged")
    for frame in (*lagged(still[:3]), lagged(still[3:])[0]):
        torch.testing.assert_close(frame, exact(still[:1])[0], atol=1e-3, rtol=0)


def test_lagged_weights_a_frame_by_the_one_before() -> None:
    clip = [picture(24, 40, 0, 0.5 * index) for index in range(3)]
    exact, lagged = Upscaler(2, **TORCH), Upscaler(2, **TORCH, mode="lagged")
    net: Any = exact._backend
    results = lagged(torch.cat(clip))
    given: list[Any] | None = None
    for index, frame in enumerate(clip):
        record = Record(given)
        torch.testing.assert_close(results[index : index + 1], net(frame, record))
        given = record.measured
        if index:
            difference = (results[index] - exact(frame)[0]).abs().max().item()
            assert difference > 1e-3
            assert psnr(results[index : index + 1], exact(frame)).item() > 50


def test_lagged_begins_anew_at_a_cut_and_when_told() -> None:
    one = [picture(24, 40, 0, 0.5 * index) for index in range(3)]
    two = [255 - picture(24, 40, 7, 0.5 * index) / 2 for index in range(2)]
    exact, lagged = Upscaler(2, **TORCH), Upscaler(2, **TORCH, mode="lagged")
    results = lagged(torch.cat([*one, *two]))
    same = [torch.equal(r, exact(x)[0]) for r, x in zip(results, [*one, *two], strict=True)]
    assert same == [True, False, False, True, False]
    lagged.reset()
    assert torch.equal(lagged(one[1]), exact(one[1]))
    smaller = one[2][..., :20, :30]
    assert torch.equal(lagged(smaller), exact(smaller))


def test_lagged_does_not_depend_on_how_frames_arrive() -> None:
    clip = video([picture(16, 24, 0, 0.5 * index) for index in range(5)])
    at_once = Upscaler(2, **TORCH, mode="lagged")(clip)
    lagged = Upscaler(2, **TORCH, mode="lagged")
    one_by_one = [lagged(part(clip, index)) for index in range(5)]
    for number, plane in enumerate(at_once.planes):
        assert torch.equal(plane, torch.cat([frame.planes[number] for frame in one_by_one]))


def video(frames: list[torch.Tensor]) -> FrameBatch:
    """Grey frames."""
    plane = torch.cat([frame[:, 0].round().to(torch.uint8) for frame in frames])
    times = tuple(range(len(frames)))
    color = Color(Matrix.BT709, range=ColorRange.FULL, site=ChromaSite.LEFT)
    height, width = plane.shape[1:]
    return FrameBatch(
        (plane,), pixel_format("gray"), width, height, color, times, (1,) * len(times),
        Fraction(1, 25),
    )  # fmt: skip


def part(clip: FrameBatch, index: int) -> FrameBatch:
    return video([clip.planes[0][index][None, None].float()])


class Tight:
    """Stands for a device: more than ``room`` pixels at once are too much."""

    def __init__(self, upscaler: Upscaler, room: int) -> None:
        self._inner: Any = upscaler._backend
        self.room = room
        self.shapes: list[tuple[int, int]] = []
        self.device, self.scale = self._inner.device, self._inner.scale
        self.weights_sha256 = ""

    def __call__(self, rgb: torch.Tensor, *statistics: Any) -> torch.Tensor:
        if rgb.shape[0] * rgb.shape[2] * rgb.shape[3] > self.room:
            # What a device has begun before it fails leaves its traces.
            if statistics:
                statistics[0](rgb)
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.shapes.append((rgb.shape[2], rgb.shape[3]))
        result: torch.Tensor = self._inner(rgb, *statistics)
        return result


def tight(room: int, **wishes: Any) -> Upscaler:
    upscaler = Upscaler(2, **wishes)
    upscaler._backend = Tight(upscaler, room)
    return upscaler


@pytest.mark.parametrize(
    ("model", "mode", "least"),
    [
        ("fdiwn", "exact", 90),
        ("fdiwn", "paper", 90),
        ("fdiwn", "lagged", 60),
        ("bicubic", "exact", 150),
    ],
)
def test_a_frame_that_does_not_fit_is_done_in_tiles(model: str, mode: Mode, least: float) -> None:
    clip = torch.cat([picture(40, 130, 0, 0.5 * index) for index in range(2)])
    upscaler = tight(1900 if mode == "paper" else 3300, **TORCH, model=model, mode=mode)
    result = upscaler(clip)
    whole = Upscaler(2, model, **TORCH, mode=mode)(clip)
    assert result.shape == whole.shape
    for got, wanted in zip(result, whole, strict=True):
        assert psnr(got[None], wanted[None]).item() > least
    *halved, tiled = upscaler.notes
    assert len(halved) == (mode != "lagged")
    assert "tiles of 65 pixels" in tiled
    assert ("hundredths of a code" in tiled) == (model == "fdiwn")
    # What is known does not have to be learnt again.
    backend: Any = upscaler._backend
    backend.shapes.clear()
    upscaler(clip[:1])
    assert len(upscaler.notes) == len(halved) + 1


def test_tiles_get_smaller_until_there_is_no_sense_in_it() -> None:
    x = picture(16, 300)
    upscaler = tight(16 * 120, **TORCH)
    assert psnr(upscaler(x), Upscaler(2, **TORCH)(x)).item() > 90
    assert upscaler._fitting.side == 75
    with pytest.raises(OutOfMemoryError, match="smaller"):
        tight(16 * 90, **TORCH)(x)


def test_a_backend_without_statistics_weights_tiles_by_themselves() -> None:
    if choose_device("cpu").backend != "native":
        pytest.skip("the native backend is not built here")
    x = picture(40, 130)
    upscaler = tight(3300, device="cpu", backend="native", dtype="float32")
    whole = Upscaler(2, device="cpu", backend="native", dtype="float32")(x)
    assert 50 < psnr(upscaler(x), whole).item() < 100
    assert "own statistics" in upscaler.notes[0]


@pytest.mark.parametrize("weights", ["clean", "video"])
def test_frames_of_a_video_survive_tiles(weights: str) -> None:
    clip = video([picture(32, 130, 0, 2.0 * index) for index in range(3)])
    settings = {**TORCH, "weights": weights}
    upscaler = tight(32 * 90, **settings)
    result, whole = upscaler(clip), Upscaler(2, **settings)(clip)
    assert (result.pts, result.width, result.height) == (clip.pts, 260, 64)
    difference = result.planes[0].int() - whole.planes[0].int()
    assert difference.abs().max().item() <= 1
    assert (difference != 0).float().mean().item() < 1e-3


@pytest.mark.parametrize("spec", [spec for spec in MODELS.values() if spec.whole_frame])
def test_whole_frame_models_ask_for_statistics(spec: ModelSpec) -> None:
    forward = network_class(spec.name).forward
    assert list(inspect.signature(forward).parameters) == ["self", "x", "statistics"]


def test_a_backend_for_each_mode() -> None:
    assert choose_device("cpu", "torch", mode="lagged").mode == "lagged"
    found = choose_device("cpu", mode="lagged")
    assert (found.backend, found.mode) == ("torch", "lagged")
    assert choose_device("cpu", model="bicubic", mode="lagged").mode == "exact"
    if choose_device("cpu").backend == "native":
        assert "not with native: it cannot weight" in found.why
        assert choose_device("cpu", mode="paper").backend == "native"
        with pytest.raises(BackendError, match="native: it cannot weight") as caught:
            choose_device("cpu", "native", mode="lagged")
        assert "--mode exact" in caught.value.remedy


@pytest.mark.parametrize("mode", get_args(Mode))
def test_frames_that_fit_are_not_tiled_because_a_larger_one_did_not(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(2, "fdiwn-m", mode=mode, **TORCH)
    frame, calls = picture(24, 30), []
    whole = upscaler(frame)
    backend = upscaler._backend
    original = type(backend).__call__

    def counted(self: Any, *inputs: Any) -> torch.Tensor:
        calls.append(inputs)
        return original(self, *inputs)

    monkeypatch.setattr(type(backend), "__call__", counted)
    # Two tiles four times; quarters are 25 pixels wide.
    for side, expected in ((30, 4 if mode == "paper" else 1), (29, 4 if mode == "paper" else 8)):
        upscaler.reset()
        calls.clear()
        upscaler._fitting.side = side
        large = upscaler(frame)
        assert len(calls) == expected
        assert expected == 8 or torch.equal(large, whole)
