"""What the planner is told: the request somebody typed and the facts about this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vsr.types import ChromaSite, ColorRange, Matrix, Mode, Trim, WeightsFile

__all__ = ["MOST_TOGETHER", "DeviceFacts", "Request", "WeightsFacts"]

#: More frames of one call gain nothing even if they are tiny, and the first result waits for all.
MOST_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for; ``None`` leaves the choice to the preset, then to the planner.

    Attributes:
        source, destination: paths; without a destination the result goes beside the source.
        scale, model, weights, codec, quality, speed, pix_fmt: as in :class:`vsr.preset.Preset`.
            ``weights`` may be ``auto`` too, which overrules the preset's.
        options: further encoder options; they win over everything else.
        trim: the wanted part, already snapped to the frames of the stream.
        video_stream: index of the stream to upscale, as FFmpeg counts.
        deinterlace: ``auto`` does it where the source is flagged as interlaced.
        matrix, range, site: how the source's samples are read, whatever its tags say.
        verify: read the result back before it gets its name.
        mode: as in :class:`vsr.types.Plan`.
    """

    source: str
    destination: str | None = None
    scale: int | None = None
    model: str | None = None
    weights: str | None = None
    codec: str | None = None
    quality: int | None = None
    speed: str | None = None
    pix_fmt: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    trim: Trim = Trim()
    video_stream: int | None = None
    deinterlace: Literal["auto", "on", "off"] | None = None
    on_resize: Literal["error", "scale"] | None = None
    matrix: Matrix | None = None
    range: ColorRange | None = None
    site: ChromaSite | None = None
    strict: bool | None = None
    overwrite: bool = False
    verify: bool = True
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    batch: int | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """Where the run happens, settled before planning by whoever probed the machine.

    Attributes:
        reader, backend: rows of their tables; ``device``: ``cpu``, ``cuda:0``.
        dtypes: storage types the backend has, the preferred one first.
        batch: frames per network call that suit the device, whatever their size.
        batch_pixels: pixels of input that keep the device busy; smaller frames go together.
        mode: what was wished for, if the model depends on it, else ``exact``.
        why: why this device and reader, one sentence; empty if there is nothing to explain.
    """

    reader: str = "pyav"
    backend: str = "cpu"
    device: str = "cpu"
    dtypes: tuple[Literal["float32", "float16", "bfloat16"], ...] = ("float32",)
    batch: int = 1
    batch_pixels: int = 0
    mode: Mode = "exact"
    why: str = ""

    def frames_a_call(self, width: int, height: int) -> int:
        """Frames of this size per network call, :data:`MOST_TOGETHER` at most unless ``batch``."""
        together = min(MOST_TOGETHER, self.batch_pixels // max(1, width * height))
        return max(self.batch, together)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFacts:
    """Which weights there are on this machine.

    Attributes:
        files: what ships and what is installed, for all models.
        models: names of the models that need weights; for others a request is passed on as it is.
    """

    files: tuple[WeightsFile, ...] = ()
    models: frozenset[str] = frozenset()
