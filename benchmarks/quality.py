"""PSNR on benchmark images, as papers measure it.

Usage: ``python benchmarks/quality.py FOLDER [--weights FILE]``, where ``FOLDER`` has ``HR``,
``LR_x2``, ``LR_x3`` and ``LR_x4`` with PNGs of the same names (Set5, Set14). Prints a Markdown
table.

The protocol is the usual one: luma of BT.601 in 16..235 (MATLAB's rgb2ycbcr), the result rounded to
8 bits, as many pixels left out at each border as the scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import vsr

# RGB in 0..255 to luma in 16..235, ITU-R BT.601.
_LUMA = np.array([65.481, 128.553, 24.966]) / 255


def read(path: Path) -> NDArray[np.uint8]:
    """An image as ``(H, W, 3)`` RGB; grey ones have three equal channels."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read {path}")
    return np.asarray(image[..., ::-1], np.uint8)


def psnr(result: NDArray[np.uint8], truth: NDArray[np.uint8], shave: int) -> float:
    """Of the lumas in dB, borders of ``shave`` pixels left out."""
    error = (result.astype(np.float64) - truth) @ _LUMA
    return float(10 * np.log10(255**2 / np.mean(error[shave:-shave, shave:-shave] ** 2)))


def mean_psnr(folder: Path, upscaler: vsr.Upscaler) -> float:
    """Mean over the images of ``folder``."""
    scale, figures = upscaler.scale, []
    for path in sorted((folder / f"LR_x{scale}").glob("*.png")):
        pixels = torch.from_numpy(read(path).copy()).permute(2, 0, 1)[None].float()
        large = upscaler(pixels)[0].clamp(0, 255).round().permute(1, 2, 0)
        truth = read(folder / "HR" / path.name)[: large.shape[0], : large.shape[1]]
        figures.append(psnr(large.cpu().numpy().astype(np.uint8), truth, scale))
    if not figures:
        raise SystemExit(f"{folder / f'LR_x{scale}'} has no PNGs")
    return float(np.mean(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument(
        "--weights", metavar="FILE", help="compare with these; {} stands for the scale"
    )
    arguments = parser.parse_args()
    rows: list[tuple[str, str, str | None]] = [
        ("bicubic", "bicubic", None),
        ("FDIWN, shipped weights", "fdiwn", None),
    ]
    if arguments.weights:
        rows.append((f"FDIWN, {Path(arguments.weights).name}", "fdiwn", arguments.weights))
    names = [f"{folder.name} x{scale}" for folder in arguments.folder for scale in arguments.scale]
    print("| PSNR in dB |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for label, model, weights in rows:
        upscalers = [
            vsr.Upscaler(scale, model, weights and weights.format(scale))
            for scale in arguments.scale
        ]
        figures = [f"{mean_psnr(f, u):.2f}" for f in arguments.folder for u in upscalers]
        print(f"| {label} |", " | ".join(figures), "|", flush=True)


if __name__ == "__main__":
    main()
