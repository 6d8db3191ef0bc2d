"""PSNR on Y by the literature's protocol, on pictures that are not trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.metrics import psnr_y
from vsr.training.data.store import Store

__all__ = ["BEST_PSNR", "validate", "validation_pairs"]

#: What a picture counts at most, dB. A flat one can be met exactly, and its infinite or very high
#: PSNR would alone decide which weights are the best.
BEST_PSNR = 50.0


def validation_pairs(store: Store, size: int | None) -> list[tuple[Tensor, Tensor]]:
    """Pictures to validate on, LR and HR, ``(1, 3, H, W)`` uint8 each.

    Args:
        store: the pairs.
        size: side of a square from each HR picture's middle, pixels; ``None`` takes them whole.
    """
    pairs = []
    s = store.scale
    for entry in store.entries:
        lr, hr = store.pair(entry)
        if size is not None:
            h, w = (min(n, size // s) for n in lr.shape[:2])
            y, x = (lr.shape[0] - h) // 2, (lr.shape[1] - w) // 2
            lr = lr[y : y + h, x : x + w]
            hr = hr[y * s : (y + h) * s, x * s : (x + w) * s]
        pairs.append((lr.permute(2, 0, 1)[None].clone(), hr.permute(2, 0, 1)[None].clone()))
    return pairs


def validate(
    net: nn.Module, pairs: list[tuple[Tensor, Tensor]], scale: int, device: torch.device
) -> float:
    """Mean PSNR on Y, dB: results rounded to 8 bits, ``scale`` pixels shaved at each edge.

    A picture counts :data:`BEST_PSNR` at most. Float32 whatever the training's precision; ``net``
    is in evaluation mode.
    """
    total = 0.0
    # torch lets convolutions on a GPU round to eleven bits unless told otherwise.
    tf32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.inference_mode(), tf32:
        for lr, hr in pairs:
            sr = net(lr.to(device).float()).clamp(0, 255).round()
            total += min(float(psnr_y(sr, hr.to(device), shave=scale)), BEST_PSNR)
    return total / len(pairs)
