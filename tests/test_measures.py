"""MS-SSIM, flicker, VMAF and LPIPS, and the measures of a video that comes in pieces."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from vsr.errors import BackendError, DependencyError, UsageError
from vsr.metrics import (
    METRICS,
    Flicker,
    Measures,
    Signals,
    choose_metrics,
    flicker,
    ms_ssim,
    pooled_psnr,
    psnr,
    ssim,
)
from vsr.metrics import measures as measures_module
from vsr.metrics import vmaf as vmaf_module
from vsr.metrics.lpips import lpips_problem
from vsr.metrics.vmaf import Vmaf, vmaf_problem
from vsr.models.cost import count_cost

CPU = torch.device("cpu")
Array = NDArray[np.float64]


def noisy(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth pictures and the same with noise, 0..255."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(*shape[:-2], 9, 9, generator=generator)
    truth = torch.nn.functional.interpolate(small, shape[-2:], mode="bicubic") * 200 + 20
    result = truth + 8 * torch.randn(truth.shape, generator=generator)
    return result.clamp(0, 255).round(), truth.clamp(0, 255).round()


def wang(a: Array, b: Array) -> float:
    """The authors' msssim.m, line by line, with OpenCV's Gaussian windows."""

    def window(x: Array) -> Array:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    def halved(x: Array) -> Array:
        x = np.pad(x, ((0, 1), (0, 1)), mode="symmetric")
        return ((x[:-1, :-1] + x[1:, :-1] + x[:-1, 1:] + x[1:, 1:]) / 4)[::2, ::2]

    c1, c2, product = 2.55**2, 7.65**2, 1.0
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, exponent in enumerate(exponents):
        mean_a, mean_b = window(a), window(b)
        var_a, var_b = window(a * a) - mean_a**2, window(b * b) - mean_b**2
        covariance = window(a * b) - mean_a * mean_b
        value = (2 * covariance + c2) / (var_a + var_b + c2)
        if scale == len(exponents) - 1:
            value = value * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        product *= float(value.mean()) ** exponent
        a, b = halved(a), halved(b)
    return product


@settings(max_examples=8, deadline=None)
@given(size=st.tuples(st.integers(176, 260), st.integers(176, 260)), seed=st.integers(0, 999))
def test_ms_ssim_equals_its_authors_code(size: tuple[int, int], seed: int) -> None:
    a, b = noisy((1, 1, *size), seed)
    wanted = wang(a[0, 0].double().numpy(), b[0, 0].double().numpy())
    assert ms_ssim(a, b).item() == pytest.approx(wanted, abs=1e-9)


def test_ms_ssim_of_small_and_identical_pictures() -> None:
    a, b = noisy((2, 3, 200, 180))
    assert ms_ssim(b, b).tolist() == pytest.approx([1, 1])
    assert ms_ssim(a, 255 - a).tolist() == pytest.approx([0, 0], abs=0.2)
    assert ms_ssim(a, b, shave=2).shape == (2,)
    with pytest.raises(UsageError, match="176"):
        ms_ssim(a, b, shave=3)


def test_flicker_of_known_videos() -> None:
    truth = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 4, 4) * 10
    assert flicker(truth, truth).tolist() == [0, 0, 0, 0]
    # What is wrong in the same way all the time does not flicker.
    assert flicker(truth + 7, truth).tolist() == [0, 0, 0, 0]
    jumping = truth + torch.tensor([0.0, 3, 0, 3, 3]).view(5, 1, 1, 1)
    assert flicker(jumping, truth).tolist() == [3, 3, 3, 0]
    with pytest.raises(UsageError, match="one shape"):
        flicker(truth, truth[:4])


@pytest.mark.parametrize("sizes", [[7], [1] * 7, [2, 4, 1]])
def test_flicker_does_not_depend_on_batches(sizes: list[int]) -> None:
    result, truth = noisy((7, 1, 16, 16))
    running = Flicker()
    parts = zip(result.split(sizes), truth.split(sizes), strict=True)
    values = torch.cat([running.add(*part) for part in parts])
    assert math.isnan(values[0])
    assert torch.equal(values[1:], flicker(result, truth))


def test_pooled_psnr() -> None:
    result, truth = noisy((4, 1, 32, 32))
    result[2:] = (result[2:] + truth[2:]) / 2
    values = psnr(result, truth).tolist()
    whole = psnr(result.reshape(1, 1, 128, 32), truth.reshape(1, 1, 128, 32)).item()
    assert pooled_psnr(values) == pytest.approx(whole)
    assert pooled_psnr([math.inf, math.inf]) == math.inf
    assert pooled_psnr([math.inf, 30.0]) == pytest.approx(30 + 10 * math.log10(2))


def signals(luma: Tensor) -> Signals:
    return Signals(luma, luma.expand(-1, 3, -1, -1))


PLAIN = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "ms_ssim", "flicker")


@pytest.mark.parametrize("sizes", [[3], [1, 2]])
def test_measures_equal_the_functions(sizes: list[int]) -> None:
    result, truth = noisy((3, 1, 184, 190))
    with Measures(PLAIN, shave=4, device=CPU) as measures:
        rows = []
        for a, b in zip(result.split(sizes), truth.split(sizes), strict=True):
            rows += measures.add(signals(a), signals(b))
        assert measures.finish() == {}
    assert [row["psnr_y"] for row in rows] == psnr(result, truth, shave=4).tolist()
    assert [row["ssim_y"] for row in rows] == ssim(result, truth, shave=4).tolist()
    assert [row["ms_ssim"] for row in rows] == pytest.approx(
        ms_ssim(result, truth, shave=4).tolist(), abs=1e-12
    )
    inner = (..., slice(4, -4), slice(4, -4))
    assert [row["flicker"] for row in rows[1:]] == flicker(result[inner], truth[inner]).tolist()
    assert "flicker" not in rows[0]
    assert rows[0]["psnr_rgb"] == pytest.approx(rows[0]["psnr_y"])
    assert rows[0]["ssim_rgb"] == pytest.approx(rows[0]["ssim_y"])


def test_what_does_not_exist_is_missing() -> None:
    result, truth = noisy((1, 1, 64, 64))
    with Measures(PLAIN, shave=0, device=CPU) as measures:
        (row,) = measures.add(signals(result), signals(truth))
    assert set(row) == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    with (
        Measures(PLAIN, shave=32, device=CPU) as measures,
        pytest.raises(UsageError, match="leaves nothing"),
    ):
        measures.add(signals(result), signals(truth))


def test_choosing(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"lpips": lambda: "not here", "vmaf": lambda: None}
    monkeypatch.setattr(measures_module, "_OPTIONAL", missing)
    assert choose_metrics(None, temporal=True) == (
        (*PLAIN, "vmaf"),
        ("LPIPS was not measured: not here.",),
    )
    assert choose_metrics(None, temporal=False)[0] == PLAIN[:-1]
    assert choose_metrics(("vmaf", "psnr_y"), temporal=True) == (("psnr_y", "vmaf"), ())
    with pytest.raises(DependencyError, match="LPIPS cannot be measured: not here"):
        choose_metrics(("lpips",), temporal=True)
    with pytest.raises(UsageError, match="no metric called 'psnr'"):
        choose_metrics(("psnr",), temporal=True)
    with pytest.raises(UsageError, match="measured over time"):
        choose_metrics(("flicker",), temporal=False)
    assert all(METRICS[name].name == name for name in METRICS)


@pytest.fixture
def libvmaf() -> None:
    if (problem := vmaf_problem()) is not None:
        pytest.skip(problem)


@pytest.mark.parametrize(("bits", "size"), [(8, (180, 240)), (10, (181, 239))])
def test_vmaf_equals_ffmpeg_on_two_files(
    libvmaf: None, tmp_path: Path, bits: int, size: tuple[int, int]
) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    _, truth = noisy((4, 1, *size))
    truth = truth.clamp(16, 235)
    result = torch.nn.functional.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)
    with Vmaf(bits) as vmaf:
        vmaf.add(result[:1], truth[:1])
        vmaf.add(result[1:], truth[1:])
        ours = vmaf.finish()
    for name, video in (("result", result), ("truth", truth)):
        codes = (video.double() * 2 ** (bits - 8)).round().numpy()[:, 0]
        samples = codes.astype(np.uint8 if bits == 8 else np.uint16)
        grey = np.full_like(samples, 2 ** (bits - 1))
        planes = np.stack([samples, grey, grey], axis=1)
        (tmp_path / name).write_bytes(planes.tobytes())
    form = "yuv444p" if bits == 8 else "yuv444p10le"
    raw = ["-f", "rawvideo", "-pix_fmt", form, "-s", f"{size[1]}x{size[0]}", "-i"]
    graph = "libvmaf=log_fmt=json:log_path=log"
    command = [get_ffmpeg_exe(), "-v", "error", *raw, "result", *raw, "truth", "-lavfi", graph]
    subprocess.run([*command, "-f", "null", "-"], cwd=tmp_path, check=True)
    frames = json.loads((tmp_path / "log").read_text())["frames"]
    assert ours == pytest.approx([frame["metrics"]["vmaf"] for frame in frames], abs=1e-4)
    assert ours[0] < 95


def test_vmaf_ends_its_program(libvmaf: None) -> None:
    _, truth = noisy((1, 1, 64, 64))
    with Vmaf() as vmaf:
        vmaf.add(truth, truth)
        program = vmaf._program
        assert program is not None
        assert program.poll() is None
    assert program.poll() is not None
    with Vmaf() as vmaf:
        assert vmaf.finish() == []


def test_vmaf_that_dies_is_an_error_with_a_reason(libvmaf: None) -> None:
    _, truth = noisy((1, 1, 64, 64))
    with Vmaf() as vmaf:
        vmaf.add(truth, truth)
        assert vmaf._program is not None
        vmaf._program.kill()
        with pytest.raises(BackendError, match="VMAF: it was ended by SIGKILL"):
            vmaf.finish()


@pytest.mark.parametrize("lenient", [True, False])
def test_a_vmaf_that_was_not_asked_for_does_not_take_the_rest_along(
    lenient: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(vmaf_module, "_ffmpeg", lambda: str(program))
    monkeypatch.setattr(vmaf_module, "vmaf_problem", lambda: None)
    result, truth = noisy((3, 1, 300, 400))  # more than a pipe holds

    def measured() -> tuple[list[dict[str, float]], dict[str, list[float]], dict[str, str]]:
        with Measures(("psnr_y", "vmaf"), shave=0, device=CPU, lenient=lenient) as measures:
            rows = [
                row
                for a, b in zip(result.split(1), truth.split(1), strict=True)
                for row in measures.add(signals(a), signals(b))
            ]
            return rows, measures.finish(), measures.problems

    if not lenient:
        with pytest.raises(BackendError, match="ended by SIGSEGV"):
            measured()
        return
    rows, late, problems = measured()
    assert [row["psnr_y"] for row in rows] == psnr(result, truth).tolist()
    assert late == {}
    assert "ended by SIGSEGV" in problems["vmaf"]


def test_small_pictures_have_the_measures_that_they_are_large_enough_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measures_module, "_OPTIONAL", {"lpips": lambda: None, "vmaf": lambda: None})
    for side, missing in ((175, {"ms_ssim"}), (30, {"ms_ssim", "lpips"})):
        names, notes = choose_metrics(None, temporal=True, size=(400, side))
        assert set(METRICS) - set(names) == missing
        assert len(notes) == len(missing)
    names, notes = choose_metrics(None, temporal=True, size=(16, 400))
    assert names == ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "flicker")
    assert "VMAF was not measured: it needs 17 pixels each way." in notes
    assert choose_metrics(None, temporal=False, size=(10, 10))[0] == ("psnr_y", "psnr_rgb")
    with pytest.raises(UsageError, match=r"MS-SSIM .* needs 176 pixels each way, and 64x48 are"):
        choose_metrics(("psnr_y", "ms_ssim"), temporal=True, size=(64, 48))
    result, truth = noisy((1, 1, 8, 8))
    with Measures(PLAIN, shave=0, device=CPU) as measures:
        (row,) = measures.add(signals(result), signals(truth))
    assert set(row) == {"psnr_y", "psnr_rgb"}


def test_lpips() -> None:
    if (problem := lpips_problem()) is not None:
        pytest.skip(problem)
    from vsr.metrics.lpips import Lpips

    try:
        lpips = Lpips(CPU)
    except DependencyError as error:
        pytest.skip(error.what)
    result, truth = noisy((2, 3, 64, 64))
    same, other = lpips.add(truth, truth), lpips.add(result, truth)
    assert same.tolist() == [0, 0]
    assert (other > 0.05).all()


@pytest.mark.parametrize(
    ("name", "scale", "parameters", "giga"),
    [
        ("fdiwn", 2, 629_176, 270.9),
        ("fdiwn", 3, 646_486, 122.3),
        ("fdiwn", 4, 663_848, 71.2),
        ("fdiwn-m", 2, 429_504, 270.9),  # two groups, but as many runs of them
        ("bicubic", 2, 0, 0),
    ],
)
def test_cost(name: str, scale: int, parameters: int, giga: float) -> None:
    cost = count_cost(name, scale)
    assert cost.parameters == parameters
    assert cost.multiply_adds / 1e9 == pytest.approx(giga, abs=0.05)
    assert (cost.multiply_adds_once < cost.multiply_adds) == (name != "bicubic")


def test_psnr_of_published_images_by_an_independent_formula(reference: Path) -> None:
    hr = cv2.imread(str(reference / "Set5/HR/butterfly.png"))
    lr = cv2.imread(str(reference / "Set5/LR_x2/butterfly.png"))
    assert hr is not None
    assert lr is not None
    large = cv2.resize(lr, (256, 256), interpolation=cv2.INTER_CUBIC)
    ours = psnr(torch.from_numpy(large).permute(2, 0, 1), torch.from_numpy(hr).permute(2, 0, 1))
    assert ours.item() == pytest.approx(cv2.PSNR(large, hr), abs=1e-9)
