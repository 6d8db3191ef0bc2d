"""Colour and network as on a GPU, without one: nothing there waits, or is on the wrong device."""

from __future__ import annotations

import pytest
import torch
from on_meta import META, Watch

from vsr.engine.torch_backend import TorchBackend
from vsr.media.color import from_rgb, to_rgb
from vsr.types import ChromaSite, Color, ColorRange, Matrix, ModelPlan
from vsr.types.formats import PIXEL_FORMATS

COLOR = Color(Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_colour(name: str) -> None:
    kind = PIXEL_FORMATS[name]
    dtype = torch.uint8 if kind.bits == 8 else torch.uint16

    def planes(width: int, height: int) -> list[torch.Tensor]:
        sizes = [kind.plane_size(p, width, height) for p in range(kind.planes)]
        return [torch.empty((2, *size), dtype=dtype, device=META) for size in sizes]

    def there_and_back() -> Watch:
        watch = Watch()
        with watch, torch.inference_mode():
            rgb, alpha = to_rgb(planes(38, 26), kind, COLOR)
            back = from_rgb(rgb, alpha, kind, COLOR)
        assert [(p.shape, p.dtype) for p in back] == [(p.shape, p.dtype) for p in planes(38, 26)]
        return watch

    there_and_back()  # the weights of a size are made once, on the CPU
    assert not there_and_back().found


@pytest.mark.parametrize(("model", "dtype"), [("bicubic", "float32"), ("fdiwn", "float16")])
def test_network(model: str, dtype: str) -> None:
    backend = TorchBackend(ModelPlan(model, 2, None), "meta", dtype)
    frames = torch.empty((2, 3, 9, 12), device=META)
    watch = Watch()
    with watch:
        larger = backend(frames)
    assert larger.is_meta
    assert larger.shape == (2, 3, 18, 24)
    assert not watch.found


def test_what_would_wait_is_seen() -> None:
    there, here = torch.empty(3, device=META), torch.zeros(3)
    watch = Watch()
    with watch:
        here.to(META)
        there.copy_(here)
        with pytest.raises(RuntimeError):
            there.sum().item()
    assert set(watch.found) == {
        "aten::_to_copy to the other",
        "aten::copy_ of both",
        "aten::_local_scalar_dense reads",
    }
