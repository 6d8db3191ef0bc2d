"""Folders of images and the paper's suite, against computations that share nothing with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.evaluate import (
    EvalOptions,
    evaluate_images,
    evaluate_suite,
    result_files,
)
from pipelines.evaluate.benchmark import find_images
from pipelines.events import Event, Progress
from vsr.cli.eval_text import suite_text
from vsr.errors import InputError, ModelError, UsageError
from vsr.media.png import decode_png
from vsr.models.bicubic import imresize
from vsr.models.weights import shipped_path
from vsr.types import Candidate

BICUBIC = EvalOptions(model="bicubic", device="cpu")
Image = NDArray[np.uint8]


def read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)


def ssim_y(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """With Gaussian windows of OpenCV, as in test_metrics.py."""

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + 2.55**2) * (2 * covariance + 7.65**2)
    similarity /= (mean_a**2 + mean_b**2 + 2.55**2) * (var_a + var_b + 7.65**2)
    return float(similarity.mean())


def scores(
    numpy_benchmark: ModuleType, result: Image, truth: Image, scale: int
) -> tuple[float, float]:
    a, b = (numpy_benchmark.to_y(x)[scale:-scale, scale:-scale] for x in (result, truth))
    return float(numpy_benchmark.psnr_y(result, truth, scale)), ssim_y(a, b)


def the(candidates: tuple[Candidate, ...], name: str) -> Candidate:
    return next(c for c in candidates if c.name == name)


def benchmark(reference: Path, folder: Path, dataset: str, image: str, scale: int) -> Path:
    """One image of a benchmark, with its published small one."""
    for part in ("HR", f"LR_x{scale}"):
        (folder / dataset / part).mkdir(parents=True)
        shutil.copy(reference / dataset / part / f"{image}.png", folder / dataset / part)
    return folder / dataset


@pytest.mark.parametrize(
    ("dataset", "image", "scale"),
    [("Set5", "butterfly", 2), ("Set14", "bridge", 3), ("Set14", "ppt3", 4)],
)
def test_bicubic_by_an_independent_computation(
    reference: Path,
    numpy_benchmark: ModuleType,
    tmp_path: Path,
    dataset: str,
    image: str,
    scale: int,
) -> None:
    folder = benchmark(reference, tmp_path, dataset, image, scale)
    found = evaluate_images(str(folder), scale, BICUBIC).evaluation
    truth = numpy_benchmark.modcrop(read(folder / "HR" / f"{image}.png"), scale)
    large = numpy_benchmark.imresize(read(folder / f"LR_x{scale}" / f"{image}.png"), scale)
    psnr, ssim = scores(numpy_benchmark, large, truth, scale)
    (frame,) = found.candidates[0].frames
    assert frame.values["psnr_y"] == pytest.approx(psnr, abs=1e-9)
    assert frame.values["ssim_y"] == pytest.approx(ssim, abs=1e-9)
    assert (frame.label, frame.pts) == (f"{image}.png", None)
    assert dict(found.settings)["small images"] == "as published in the folder"
    assert not any("imresize" in note for note in found.notes)

    shutil.rmtree(folder / f"LR_x{scale}")
    computed = evaluate_images(str(folder), scale, BICUBIC).evaluation
    assert computed.candidates[0].frames[0].values["psnr_y"] == frame.values["psnr_y"]
    assert "MATLAB" in dict(computed.settings)["small images"]


@pytest.mark.slow
@pytest.mark.parametrize(("image", "scale"), [("butterfly", 3), ("butterfly", 4)])
def test_authors_weights_by_an_independent_computation(
    reference: Path, numpy_benchmark: ModuleType, tmp_path: Path, image: str, scale: int
) -> None:
    """The authors' published image is their network's result on quarters, to a code."""
    folder = benchmark(reference, tmp_path, "Set5", image, scale)
    authors = str(reference / "weights")
    suite = evaluate_suite(str(tmp_path), authors, EvalOptions(device="cpu"), scales=[scale])
    published = read(reference / "Set5" / f"FDIWN_SR_x{scale}" / f"{image}.png")
    truth = numpy_benchmark.modcrop(read(folder / "HR" / f"{image}.png"), scale)
    psnr, ssim = scores(numpy_benchmark, published, truth, scale)
    rows = {row.method: row for row in suite.rows}
    methods = ["ours", "ours in quarters", "authors", "authors in quarters", "bicubic", "paper"]
    assert list(rows) == methods
    ours_apart = (rows["ours in quarters"].psnr_y or 0) - (rows["ours"].psnr_y or 0)
    assert 0 < abs(ours_apart) < 0.1
    assert rows["authors in quarters"].psnr_y == pytest.approx(psnr, abs=0.01)
    assert rows["authors in quarters"].ssim_y == pytest.approx(ssim, abs=0.0005)
    whole, ours, bicubic = (rows[m].psnr_y or 0 for m in ("authors", "ours", "bicubic"))
    assert whole == pytest.approx(psnr, abs=0.1)
    assert whole > ours > bicubic
    assert (rows["paper"].psnr_y, rows["paper"].ssim_y) == {
        3: (34.52, 0.9281),
        4: (32.23, 0.8955),
    }[scale]
    (cost,) = suite.costs
    assert cost.parameters == {3: 646_486, 4: 663_848}[scale]
    assert cost.multiply_adds / 1e9 == pytest.approx({3: 122.3, 4: 71.2}[scale], abs=0.05)
    assert cost.multiply_adds_once / 1e9 == pytest.approx({3: 63.6, 4: 36.7}[scale], abs=0.1)


# Pictures made here


def scene(height: int, width: int, seed: int) -> Image:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def test_folder_without_small_images(tmp_path: Path) -> None:
    write(tmp_path / "b.png", scene(41, 50, 1))
    write(tmp_path / "a.png", scene(40, 47, 2))
    write(tmp_path / "grey.png", scene(40, 40, 3)[..., 0])
    options = EvalOptions(model="bicubic", device="cpu", stills=2)
    found = evaluate_images(str(tmp_path), 2, options)
    evaluation = found.evaluation
    assert [f.label for f in evaluation.candidates[0].frames] == ["a.png", "b.png", "grey.png"]
    assert [f.index for f in evaluation.candidates[0].frames] == [0, 1, 2]
    assert evaluation.time_base is None
    assert "psnr_y_pooled" not in evaluation.candidates[0].summary
    assert any("MS-SSIM" in note and "176" in note for note in evaluation.notes)
    still = found.stills[0]
    pictures = {p.name: decode_png(p.png).permute(1, 2, 0).numpy() for p in still.pictures}
    truth = read(tmp_path / still.label)
    truth = truth[: truth.shape[0] // 2 * 2, : truth.shape[1] // 2 * 2]
    assert np.array_equal(pictures["truth"], truth)
    assert np.array_equal(pictures["source"], imresize(truth, 0.5))
    assert np.array_equal(pictures["bicubic"], imresize(imresize(truth, 0.5), 2))


def test_other_small_images_are_used_and_mentioned(tmp_path: Path) -> None:
    truth = scene(48, 48, 1)
    write(tmp_path / "GT" / "one.png", truth)
    nearest = truth[::2, ::2].copy()
    write(tmp_path / "LR_bicubic" / "X2" / "onex2.png", nearest)
    (pair,) = find_images(tmp_path, 2)
    assert pair.small == tmp_path / "LR_bicubic" / "X2" / "onex2.png"
    found = evaluate_images(str(tmp_path), 2, EvalOptions(model="bicubic", stills=1, device="cpu"))
    assert any("1 of 1 small images are not what" in note for note in found.evaluation.notes)
    source = decode_png(found.stills[0].pictures[0].png).permute(1, 2, 0).numpy()
    assert np.array_equal(source, nearest)
    # They are as much what the figures are from as the large ones.
    told = dict(found.evaluation.settings)
    write(tmp_path / "LR_bicubic" / "X2" / "onex2.png", nearest + 1)
    again = dict(evaluate_images(str(tmp_path), 2, BICUBIC).evaluation.settings)
    assert again["images sha256"] == told["images sha256"]
    assert again["small images sha256"] != told["small images sha256"]


def test_alpha_is_said_to_be_left_out_where_there_is_any(tmp_path: Path) -> None:
    opaque = np.dstack([scene(40, 40, 1), np.full((40, 40), 255, np.uint8)])
    clear = opaque.copy()
    clear[3:9, 3:9, 3] = 254
    assert cv2.imwrite(str(tmp_path / "a.png"), opaque)
    assert "alpha" not in " ".join(evaluate_images(str(tmp_path), 2, BICUBIC).evaluation.notes)
    assert cv2.imwrite(str(tmp_path / "b.png"), clear)
    notes = evaluate_images(str(tmp_path), 2, BICUBIC).evaluation.notes
    assert "1 of 2 images has alpha, which is not compared." in notes


@pytest.mark.parametrize(("size", "scale", "left"), [(9, 4, "8x8"), (3, 4, "0x0")])
def test_an_image_of_which_nothing_is_left_is_named(
    size: int, scale: int, left: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.png", scene(40, 40, 1))
    write(tmp_path / "small.png", scene(40, size, 1))
    with pytest.raises(InputError) as caught:
        evaluate_images(str(tmp_path), scale, BICUBIC)
    assert caught.value.where.endswith("small.png")
    assert f"with {scale} pixels shaved at each edge nothing is left" in caught.value.what
    assert left.partition("x")[0] in caught.value.what


def test_folders_that_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        evaluate_images(str(tmp_path / "nothing"), 2, BICUBIC)
    with pytest.raises(InputError, match="no ground truth"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    write(tmp_path / "HR" / "a.png", scene(40, 40, 1))
    write(tmp_path / "HR" / "b.png", scene(40, 40, 1))
    write(tmp_path / "LR_x2" / "a.png", scene(20, 20, 1))
    with pytest.raises(InputError, match="1 of 2 images have no small one here, the first is b"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    write(tmp_path / "LR_x2" / "b.png", scene(13, 13, 1))
    with pytest.raises(InputError, match=r"measures 13x13; x2 of b\.png needs 20x20"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    write(tmp_path / "HR" / "b.bmp", scene(40, 40, 1))
    with pytest.raises(InputError, match=r"b\.bmp and b\.png are both the image 'b'"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    (tmp_path / "HR" / "b.bmp").unlink()
    write(tmp_path / "LR_x2" / "b_x2.png", scene(20, 20, 1))
    with pytest.raises(InputError, match=r"b\.png and b_x2\.png are both the image 'b'"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    (tmp_path / "LR_x2" / "b_x2.png").unlink()
    (tmp_path / "HR" / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png"):
        evaluate_images(str(tmp_path), 2, BICUBIC)
    with pytest.raises(UsageError, match="no video protocol"):
        evaluate_images(str(tmp_path), 2, EvalOptions(protocol="video"))


def test_suite_of_what_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "set5" / "HR" / "one.png", scene(36, 36, 1))
    write(data / "BSD100" / "two.png", scene(36, 36, 2))
    told: list[Event] = []
    suite = evaluate_suite(
        str(data), None, EvalOptions(device="cpu"), scales=[2], on_event=told.append
    )
    counts = [(event.frames, event.total) for event in told if isinstance(event, Progress)]
    assert counts == [(1, 2), (2, 2)]
    assert [(r.dataset, r.method) for r in suite.rows] == [
        (dataset, method)
        for dataset in ("Set5", "B100")
        for method in ("ours", "ours in quarters", "bicubic", "paper")
    ]
    assert any("Set14, Urban100, Manga109" in note for note in suite.notes)
    assert any("--authors" in note for note in suite.notes)
    with result_files(str(tmp_path / "paper")) as files:
        files.write(suite)
    loaded = json.loads((tmp_path / "paper.json").read_text())
    assert [row["psnr_y"] for row in loaded["rows"]] == [row.psnr_y for row in suite.rows]
    assert loaded["evaluations"][0]["candidates"][0]["frames"][0]["label"] == "one.png"
    table = (tmp_path / "paper.csv").read_text().splitlines()
    assert table[0] == "dataset,scale,method,psnr_y,ssim_y,images,seconds"
    assert table[4] == "Set5,2,paper,38.07,0.9608,,"
    text = suite_text(suite)
    for wanted in ("Set5 x2", "38.07 / 0.9608", "629,176", "270.9 G", "112.0 G", "quarters"):
        assert wanted in text


def test_suite_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        evaluate_suite(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="none of the paper's benchmarks"):
        evaluate_suite(str(tmp_path))
    write(tmp_path / "Set5" / "one.png", scene(36, 36, 1))
    with pytest.raises(UsageError, match="the paper has no bicubic"):
        evaluate_suite(str(tmp_path), None, BICUBIC)
    (tmp_path / "weights").mkdir()
    with pytest.raises(InputError, match="0 weights files have x2"):
        evaluate_suite(str(tmp_path), str(tmp_path / "weights"), EvalOptions(device="cpu"))
    with pytest.raises(ModelError):
        evaluate_suite(str(tmp_path), "nobody's", EvalOptions(device="cpu"))
    # There are such weights for x2 only: to be known before the hours of x2.
    told: list[Event] = []
    with pytest.raises(ModelError, match="x3"):
        evaluate_suite(
            str(tmp_path), str(shipped_path("fdiwn", 2)), EvalOptions(device="cpu"),
            scales=[2, 3], on_event=told.append,
        )  # fmt: skip
    assert told == []
