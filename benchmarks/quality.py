"""PSNR and SSIM on benchmark images, as papers measure them.

Usage: ``python benchmarks/quality.py FOLDER... [--weights FILE]``, where ``FOLDER`` has ``HR``,
``LR_x2``, ``LR_x3`` and ``LR_x4`` with PNGs of the same names (Set5, Set14). Prints a Markdown
table.

The protocol is the usual one: the result rounded to 8 bits, luma of BT.601 in 16..235 (MATLAB's
rgb2ycbcr), as many pixels left out at each border as the scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import torch
from torch import Tensor

import vsr
from vsr.metrics import psnr_y, ssim_y


def read(path: Path) -> Tensor:
    """An image as ``(1, 3, H, W)`` RGB, float32 in 0..255; grey ones have three equal channels."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read {path}")
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()


def measure(folder: Path, upscaler: vsr.Upscaler) -> str:
    """Mean PSNR and SSIM over the images of ``folder``."""
    scale, figures = upscaler.scale, []
    for path in sorted((folder / f"LR_x{scale}").glob("*.png")):
        large = upscaler(read(path)).clamp(0, 255).round().cpu()
        truth = read(folder / "HR" / path.name)[..., : large.shape[-2], : large.shape[-1]]
        pair = psnr_y(large, truth, shave=scale), ssim_y(large, truth, shave=scale)
        figures.append(torch.cat(pair))
    if not figures:
        raise SystemExit(f"{folder / f'LR_x{scale}'} has no PNGs")
    psnr, ssim = torch.stack(figures).mean(0).tolist()
    return f"{psnr:.2f} / {ssim:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument(
        "--weights", metavar="NAME|FILE", help="compare with these; {} stands for the scale"
    )
    arguments = parser.parse_args()
    rows: list[tuple[str, str, str | None]] = [
        ("bicubic", "bicubic", None),
        ("FDIWN, shipped weights", "fdiwn", None),
    ]
    if arguments.weights:
        rows.append((f"FDIWN, {Path(arguments.weights).name}", "fdiwn", arguments.weights))
    names = [f"{folder.name} x{scale}" for folder in arguments.folder for scale in arguments.scale]
    print("| PSNR in dB / SSIM |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for label, model, weights in rows:
        upscalers = [
            vsr.Upscaler(scale, model, weights and weights.format(scale))
            for scale in arguments.scale
        ]
        figures = [measure(folder, u) for folder in arguments.folder for u in upscalers]
        print(f"| {label} |", " | ".join(figures), "|", flush=True)


if __name__ == "__main__":
    main()
