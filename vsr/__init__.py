"""Video super-resolution with FDIWN: the same video, larger and sharper, nothing else changed.

>>> import vsr
>>> report = vsr.upscale("in.mp4", "out.mp4", scale=2)      # a whole file, as the command line does
>>> larger = vsr.Upscaler(scale=2)                          # or frame by frame
>>> for batch in vsr.frames("in.mp4"):
...     planes = larger(batch).planes

Importing this loads neither torch nor av; the names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsr.errors import VsrError

if TYPE_CHECKING:
    from pipelines.upscale import upscale
    from vsr.engine.upscaler import Upscaler
    from vsr.media.color import from_rgb, to_rgb
    from vsr.media.frames import frames
    from vsr.media.probe import probe

__version__ = "0.1.0"

__all__ = [
    "Upscaler",
    "VsrError",
    "__version__",
    "frames",
    "from_rgb",
    "probe",
    "to_rgb",
    "upscale",
]

_HOMES = {
    "Upscaler": "vsr.engine.upscaler",
    "frames": "vsr.media.frames",
    "from_rgb": "vsr.media.color",
    "probe": "vsr.media.probe",
    "to_rgb": "vsr.media.color",
    "upscale": "pipelines.upscale",
}


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'vsr' has no attribute {name!r}") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
