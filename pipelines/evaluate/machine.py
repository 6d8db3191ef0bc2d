"""What an evaluation runs with: networks, device, versions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipelines.evaluate.options import EvalOptions
from vsr import __version__
from vsr.engine.contender import Contender, bicubic, network
from vsr.engine.device import choose_device
from vsr.engine.upscaler import Upscaler

__all__ = ["contenders_for", "machine_settings"]


def contenders_for(scale: int, options: EvalOptions, *, exact: bool) -> list[Contender]:
    """The network that is asked for, and bicubic beside it.

    Args:
        scale: enlargement.
        options: model, weights, device.
        exact: bicubic is MATLAB's, bit for bit.

    Raises:
        ModelError: no such model, or its weights cannot be loaded.
        BackendError: the device or backend is missing.
    """
    baseline = bicubic(scale, exact=exact)
    if options.model == "bicubic":
        return [baseline]
    return [_network(scale, options), baseline]


def _network(scale: int, options: EvalOptions) -> Contender:
    upscaler = Upscaler(
        scale,
        options.model,
        options.weights,
        device=options.device,
        backend=options.backend,
        dtype=options.dtype,
    )
    weights = options.weights or "shipped weights"
    contender = network(options.model, f"{options.model.upper()} x{scale}", upscaler)
    settings = ((f"{options.model} weights", weights), *contender.settings)
    return Contender(contender.name, contender.label, contender.enlarge, settings)


def machine_settings(
    options: EvalOptions, contenders: Sequence[Contender] = ()
) -> tuple[tuple[str, str], ...]:
    """Networks, device and versions, for the settings of an evaluation."""
    networks = [pair for contender in contenders for pair in contender.settings]
    facts = choose_device(options.device, options.backend, model=options.model)
    dtype = facts.dtypes[0] if options.dtype == "auto" else options.dtype
    return (
        *networks,
        ("device", facts.device),
        ("dtype", dtype),
        ("threads", str(torch.get_num_threads())),
        ("vsr", __version__),
        ("torch", torch.__version__),
    )
