"""What an evaluation runs with: networks, device, versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import av
import torch

from pipelines.evaluate.options import EvalOptions
from vsr import __version__
from vsr.engine.contender import Contender, bicubic, network
from vsr.engine.device import choose_device
from vsr.engine.upscaler import Upscaler
from vsr.models.registry import weights_path

__all__ = ["contenders_for", "machine_settings"]


def contenders_for(
    scale: int, options: EvalOptions, *, exact: bool, quarters: bool = False
) -> list[Contender]:
    """The network that is asked for, and bicubic beside it.

    Args:
        scale: enlargement.
        options: model, weights, device.
        exact: bicubic is MATLAB's, bit for bit.
        quarters: between the two, the network on quarters of each picture.

    Raises:
        ModelError: no such model, or its weights cannot be loaded; it has none, and some are named.
        BackendError: the device or backend is missing.
    """
    baseline = bicubic(scale, exact=exact)
    if options.model == "bicubic":
        weights_path(
            options.model, scale, options.weights
        )  # it has none: an error if any are named
        return [baseline]
    return [*_networks(scale, options, quarters=quarters), baseline]


def _networks(scale: int, options: EvalOptions, *, quarters: bool) -> list[Contender]:
    upscaler = Upscaler(
        scale,
        options.model,
        options.weights,
        device=options.device,
        backend=options.backend,
        dtype=options.dtype,
    )
    weights = options.weights or "shipped weights"
    label = f"{options.model.upper()} x{scale}"
    whole = network(options.model, label, upscaler)
    settings = ((f"{options.model} weights", weights), *whole.settings)
    found = [replace(whole, settings=settings)]
    if quarters:
        name = f"{options.model} in quarters"
        found.append(network(name, f"{label}, quarters", upscaler, quarters=True))
    return found


def machine_settings(
    options: EvalOptions, contenders: Sequence[Contender] = (), *, network: bool = True
) -> tuple[tuple[str, str], ...]:
    """Networks, device and versions, for the settings of an evaluation.

    Args:
        options: model and device.
        contenders: whose own settings go along.
        network: one runs; where only measures do, there is no backend and no storage type.
    """
    networks = [pair for contender in contenders for pair in contender.settings]
    facts = choose_device(
        options.device,
        options.backend,
        model=options.model,
        dtype=None if options.dtype == "auto" else options.dtype,
    )
    dtype = facts.dtypes[0] if options.dtype == "auto" else options.dtype
    run_by = (("backend", facts.backend), ("dtype", dtype)) if network else ()
    return (
        *networks,
        ("device", facts.device),
        *run_by,
        ("threads", str(torch.get_num_threads())),
        ("vsr", __version__),
        ("torch", torch.__version__),
        ("PyAV", av.__version__),
        ("FFmpeg", str(av.ffmpeg_version_info)),
    )
