"""A report of a real clip and the real network, read back in a browser."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from browser import open_file
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.report import worst_frames, write_all
from vsr import Upscaler
from vsr.media.png import encode_png
from vsr.metrics import psnr_y, ssim_y
from vsr.models.bicubic import imresize
from vsr.types.evaluation import Candidate, Evaluation, FrameScore, MetricInfo
from vsr.types.stills import Picture, Still

METRICS = (
    MetricInfo(name="psnr_y", label="PSNR (Y)", unit="dB"),
    MetricInfo(name="ssim_y", label="SSIM (Y)", decimals=4),
)
LABELS = {"fdiwn": "FDIWN x2", "bicubic": "Bicubic"}


def tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def evaluate(truths: list[NDArray[np.uint8]]) -> tuple[Evaluation, list[Still]]:
    """Shrink by two, enlarge by the network and by bicubic, score as in papers."""
    network = Upscaler(2, device="cpu")
    scores: dict[str, list[FrameScore]] = {name: [] for name in LABELS}
    stills = []
    for index, truth in enumerate(truths):
        source = imresize(truth, 0.5)
        ours = network(tensor(source)[None])[0].round().clamp(0, 255).to(torch.uint8)
        results = {"fdiwn": ours, "bicubic": tensor(imresize(source, 2))}
        for name, result in results.items():
            values = {
                "psnr_y": float(psnr_y(result, tensor(truth), shave=2)),
                "ssim_y": float(ssim_y(result, tensor(truth), shave=2)),
            }
            scores[name].append(FrameScore(index=index, pts=index, values=values))
        pictures = [
            Picture("source", "Source", encode_png(tensor(source))),
            *(Picture(name, LABELS[name], encode_png(result)) for name, result in results.items()),
            Picture("truth", "Ground truth", encode_png(tensor(truth))),
        ]
        stills.append(Still(index, index, "", tuple(pictures)))
    candidates = tuple(
        Candidate(
            name=name,
            label=LABELS[name],
            summary={
                metric.name: float(np.mean([frame.values[metric.name] for frame in frames]))
                for metric in METRICS
            },
            frames=tuple(frames),
        )
        for name, frames in scores.items()
    )
    evaluation = Evaluation(
        kind="clip",
        title="city, reduced by 2 and enlarged again",
        time_base=Fraction(1, 25),
        metrics=METRICS,
        candidates=candidates,
        settings=(("weights", f"fdiwn_x2.safetensors, SHA-256 {network.weights_sha256}"),),
    )
    return evaluation, stills


def test_report_of_a_real_clip(browser: Any, reference: Path, tmp_path: Path) -> None:
    files = sorted((reference / "Vid4_city12").glob("*.png"))[:3]
    truths = [np.array(Image.open(file).convert("RGB"))[180:340, 260:480] for file in files]
    evaluation, stills = evaluate(truths)
    ours, bicubic = evaluation.candidates
    assert all(
        a.values["psnr_y"] > b.values["psnr_y"] + 0.5
        for a, b in zip(ours.frames, bicubic.frames, strict=True)
    )
    page, _, _ = write_all(tmp_path / "city.html", evaluation, stills)
    open_file(browser, page)
    find = browser.find_element
    cell = "#summary [data-candidate=fdiwn] [data-metric=psnr_y] strong"
    assert find("css selector", cell).text == f"{ours.summary['psnr_y']:.2f}"
    worst = worst_frames(evaluation)[0]
    assert find("id", "which").text.startswith(f"Frame {worst}, ")
    cell = "#values [data-candidate=bicubic] [data-metric=ssim_y]"
    assert find("css selector", cell).text == f"{bicubic.frames[worst].values['ssim_y']:.4f}"
    assert len(find("id", "settings").text.rpartition(" ")[2]) == 64
