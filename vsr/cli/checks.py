"""What ``vsr doctor`` looks at."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vsr import __version__
from vsr.cores import usable_cores

if TYPE_CHECKING:
    from vsr.types import WeightsFile

__all__ = ["Finding", "examine"]

# What the network's kernels are chosen by, as Linux names it.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "neon", "asimd", "bf16")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: heading it belongs to. name: what it is.
        state: ``ok``; ``absent``: can be done without; ``failed``: cannot.
        text: the version or the reason.
    """

    area: str
    name: str
    state: Literal["ok", "absent", "failed"]
    text: str


def examine() -> Iterator[Finding]:
    """Look at everything; what cannot even be imported fails with its reason."""
    yield from _whatever_happens(_machine)
    for module, checks in (("torch", _torch), ("av", _ffmpeg)):
        try:
            import_module(module)
        except (ImportError, OSError) as error:
            yield Finding("libraries", module, "failed", f"cannot be imported: {error}")
            return
        yield from _whatever_happens(checks)
    for check in (
        *(_readers, _backends, _training, _encoders),
        *(_models, _measures, _weights, _settings),
    ):
        yield from _whatever_happens(check)


def _whatever_happens(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check's findings; one that breaks is a finding itself, and the others are made."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - the finding says what it was
        name = check.__name__.lstrip("_")
        yield Finding("checks", name, "failed", f"{type(error).__name__}: {error}")


def _machine() -> Iterator[Finding]:
    area = "machine"
    yield Finding(area, "vsr", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding(area, "Python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Finding(area, "system", "ok", f"{platform.system()} {platform.release()}")
    yield Finding(area, "CPU", "ok", _cpu())


def _cpu() -> str:
    facts: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    has = (facts.get("flags") or facts.get("Features") or "").split()
    return ", ".join(
        [name, f"{usable_cores()} usable cores", *(flag for flag in _CPU_FLAGS if flag in has)]
    )


def _torch() -> Iterator[Finding]:
    import torch

    from vsr.processor import heed_quota

    heed_quota()
    area = "libraries"
    threads = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    yield Finding(area, "torch", "ok", f"{torch.__version__}, {threads}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            works = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            yield _of(area, f"cuda:{index}", _cuda_problem(index), needed=True, works=works)
    elif torch.version.cuda is None:
        yield Finding(area, "CUDA", "absent", "this build of torch is for the CPU only")
    else:
        yield Finding(area, "CUDA", "absent", "torch sees no NVIDIA GPU with a working driver")


def _cuda_problem(index: int) -> str | None:
    """A device that torch lists need not work: its memory may be taken, or its kernels missing."""
    import torch

    try:
        torch.ones(1, device=f"cuda:{index}").add_(1).item()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None


def _ffmpeg() -> Iterator[Finding]:
    import av

    libraries = ", ".join(
        f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items()
    )
    yield Finding("libraries", "av", "ok", f"{av.__version__} with {libraries}")


def _readers() -> Iterator[Finding]:
    from vsr.media.read.reader import READERS, reader_class

    for name in READERS:
        kind = reader_class(name)
        works = "every sample exact" if kind.exact else "times exact, samples close"
        yield _of("readers", name, kind.available(), needed=name == "pyav", works=works)


def _backends() -> Iterator[Finding]:
    import torch

    from vsr.engine.backend import BACKENDS, backend_class

    cuda = torch.cuda.is_available()
    for name in BACKENDS:
        kind = backend_class(name)
        # What is for the CPU alone is looked at on the CPU.
        device = "cuda:0" if cuda and kind.dtypes("fdiwn", "cuda:0") else "cpu"
        problem = kind.problem(device)
        works = kind.description(device) if problem is None else ""
        yield _of("backends", name, problem, needed=name == "torch", works=works)


def _training() -> Iterator[Finding]:
    from vsr.models.trunk_native import INSTRUCTION_SETS, library, problem

    for dtype in INSTRUCTION_SETS:
        why, code = problem(dtype), library(dtype)
        text = None if why is None else f"trunk in torch, not C++: {why}"
        works = f"trunk on cpu in C++ with {code.name}" if code else ""
        yield _of("training", str(dtype).removeprefix("torch."), text, needed=False, works=works)


def _encoders() -> Iterator[Finding]:
    from vsr.media.codecs import CODECS, encoder_problem
    from vsr.media.containers import CONTAINERS

    defaults = {container.default_codec for container in CONTAINERS.values()}
    for name, spec in CODECS.items():
        works = f"{spec.encoder}, in {', '.join(f'.{c}' for c in spec.containers)}"
        yield _of("codecs", name, encoder_problem(name), needed=name in defaults, works=works)


def _models() -> Iterator[Finding]:
    from vsr.models.registry import MODELS

    files = _weights_files()
    default = next(iter(MODELS))
    for name, spec in MODELS.items():
        there = spec.scales
        if spec.has_weights:
            there = tuple(sorted({f.scale for f in files if f.model == name}))
        missing = [scale for scale in spec.scales if scale not in there]
        works = ", ".join(f"{scale}x" for scale in there)
        if missing:
            works += f"; no weights for {', '.join(f'{scale}x' for scale in missing)}"
        problem = None if there else "no weights ship with this version; name some with --weights"
        yield _of("models", name, problem, needed=name == default, works=works)


def _weights() -> Iterator[Finding]:
    """What ships must be there and whole; what the user installed can be done without."""
    from pipelines.weights import verify_weights
    from vsr.errors import ModelError
    from vsr.plan.weights import SETS

    try:
        checked = verify_weights()
    except ModelError as error:
        yield Finding("weights", "shipped", "failed", f"{error.what}. {error.remedy}")
        return
    for name in dict.fromkeys([*SETS, *sorted({each.file.set for each in checked})]):
        found = [each for each in checked if each.file.set == name]
        broken = [each for each in found if each.problem]
        if not found:
            how = "; `vsr weights fetch authors` downloads them" if name == "authors" else ""
            yield Finding("weights", name, "absent", f"none here{how}")
            continue
        needed = any(each.file.origin == "shipped" for each in broken)
        problem = "; ".join(f"{each.problem} ({each.file.path})" for each in broken) or None
        works = ", ".join(f"{each.file.model} {each.file.scale}x" for each in found)
        yield _of("weights", name, problem, needed=needed, works=works)


def _weights_files() -> list[WeightsFile]:
    from vsr.errors import ModelError
    from vsr.models.sets import all_weights

    try:
        return [file for file in all_weights() if Path(file.path).is_file()]
    except ModelError:
        return []  # _weights() tells


def _settings() -> Iterator[Finding]:
    from vsr.preset import find_presets, preset_folders

    user, shipped = preset_folders()
    count: Counter[str] = Counter(preset.origin for preset in find_presets())
    for name, folder, needed in (("user", user, False), ("shipped", shipped, True)):
        works = f"{count[name]} in {folder}"
        problem = None if count[name] else f"none in {folder}"
        yield _of("presets", name, problem, needed=needed, works=works)


def _measures() -> Iterator[Finding]:
    from vsr.metrics.lpips import packages_problem
    from vsr.metrics.vmaf import vmaf_problem

    for name, problem in (("vmaf", vmaf_problem()), ("lpips", packages_problem())):
        yield _of("measures", name, problem, needed=False, works="for vsr eval")


def _of(area: str, name: str, problem: str | None, *, needed: bool, works: str) -> Finding:
    if problem is None:
        return Finding(area, name, "ok", works)
    return Finding(area, name, "failed" if needed else "absent", problem)
