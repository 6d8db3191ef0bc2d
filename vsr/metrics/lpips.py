"""LPIPS, by its authors' package ``lpips``.

Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
perceptual metric", CVPR 2018; version 0.1 with AlexNet, their recommendation for comparing images.
The package holds the small linear layers; torchvision fetches AlexNet (233 MB) when it is used for
the first time, so the first run needs the network.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib.util import find_spec
from urllib.error import URLError

import torch
from torch import Tensor

from vsr.errors import DependencyError

__all__ = ["Lpips", "lpips_problem"]


def lpips_problem() -> str | None:
    """Why LPIPS cannot be measured here; ``None`` if its packages are there."""
    missing = [name for name in ("lpips", "torchvision") if find_spec(name) is None]
    if len(missing) == 2:
        return "the packages lpips and torchvision are not installed"
    return f"the package {missing[0]} is not installed" if missing else None


class Lpips:
    """LPIPS of pairs of pictures.

    Args:
        device: where the pictures will be.

    Raises:
        DependencyError: the package is missing, or AlexNet's weights cannot be fetched.
    """

    def __init__(self, device: torch.device) -> None:
        problem = lpips_problem()
        if problem is not None:
            raise DependencyError(
                f"LPIPS cannot be measured: {problem}",
                remedy="Install it with `pip install lpips`, or leave LPIPS out.",
            )
        import lpips

        try:
            # The package prints, and uses an argument that torchvision has deprecated.
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = lpips.LPIPS(net="alex", verbose=False)
        except (URLError, OSError) as error:
            raise DependencyError(
                f"LPIPS cannot be measured: AlexNet's weights cannot be fetched ({error})",
                remedy="Run it once with a network connection, or leave LPIPS out.",
            ) from error
        self._network = network.to(device).eval()

    @torch.inference_mode()
    def add(self, result: Tensor, truth: Tensor) -> Tensor:
        """LPIPS of each pair.

        Args:
            result: ``(N, 3, H, W)`` RGB in 0..255.
            truth: the same shape.

        Returns:
            ``(N,)`` float64; 0 for identical pictures.
        """
        pictures = (x.to(torch.float32).clamp(0, 255) / 127.5 - 1 for x in (result, truth))
        values: Tensor = self._network(*pictures)
        return values.flatten().to(torch.float64)
