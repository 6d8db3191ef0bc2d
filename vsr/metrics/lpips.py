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
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from vsr.errors import DependencyError, UsageError

__all__ = ["SMALLEST", "Lpips", "lpips_problem", "packages_problem"]

#: Pixels that AlexNet needs each way: of fewer, its second pooling leaves nothing.
SMALLEST = 31


def packages_problem() -> str | None:
    """Which package LPIPS lacks here; ``None`` if all are there. Loads nothing."""
    missing = [name for name in ("lpips", "torchvision") if find_spec(name) is None]
    if len(missing) == 2:
        return "the packages lpips and torchvision are not installed"
    return f"the package {missing[0]} is not installed" if missing else None


def lpips_problem() -> str | None:
    """Why LPIPS cannot be measured here; ``None`` if it can. The first call loads AlexNet."""
    if (problem := packages_problem()) is not None:
        return problem
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


@cache
def _load() -> nn.Module | str:
    """The network on the CPU, or why there is none."""
    try:
        # The package prints, and uses an argument that torchvision has deprecated.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import lpips

            network: nn.Module = lpips.LPIPS(net="alex", verbose=False)
    except OSError as error:  # no connection, no space
        return f"AlexNet's weights cannot be fetched ({error})"
    except (ImportError, RuntimeError) as error:
        # What a torchvision raises that was built for another torch.
        first = str(error).partition("\n")[0]
        return f"the package lpips or torchvision does not load ({first})"
    return network.eval().requires_grad_(requires_grad=False)


class Lpips:
    """LPIPS of pairs of pictures.

    Args:
        device: where the pictures will be.

    Raises:
        DependencyError: a package is missing, or AlexNet's weights cannot be fetched.
    """

    def __init__(self, device: torch.device) -> None:
        problem = lpips_problem()
        loaded = problem or _load()
        if isinstance(loaded, str):
            raise DependencyError(
                f"LPIPS cannot be measured: {loaded}",
                remedy="Install it with `pip install 'fdiwn-vsr[eval]'`, or leave LPIPS out.",
            )
        self._network = loaded.to(device)

    @torch.inference_mode()
    def add(self, result: Tensor, truth: Tensor) -> Tensor:
        """LPIPS of each pair.

        Args:
            result: ``(N, 3, H, W)`` RGB in 0..255, 31 pixels each way or more.
            truth: the same shape.

        Returns:
            ``(N,)`` float64; 0 for identical pictures.

        Raises:
            UsageError: the pictures are smaller.
        """
        if min(truth.shape[-2:]) < SMALLEST:
            raise UsageError(f"LPIPS needs {SMALLEST} pixels, {tuple(truth.shape[-2:])} are left")
        pictures = (x.to(torch.float32).clamp(0, 255) / 127.5 - 1 for x in (result, truth))
        values: Tensor = self._network(*pictures)
        return values.flatten().to(torch.float64)
