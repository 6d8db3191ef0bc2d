"""VMAF, computed by the libvmaf in the ffmpeg program that the package ``imageio-ffmpeg`` carries.

Li, Aaron, Katsavounidis, Moorthy and Manohara, "Toward a practical perceptual video quality
metric", Netflix 2016; model ``vmaf_v0.6.1``, which is trained on 1920x1080 seen from three times
its height. It looks at luma alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from vsr.errors import BackendError, DependencyError

__all__ = ["SMALLEST", "Vmaf", "vmaf_problem"]

_MODEL = "vmaf_v0.6.1"
_LOG = "vmaf.json"

#: Pixels that a picture needs each way: libvmaf dies of smaller ones.
SMALLEST = 17


@cache
def vmaf_problem() -> str | None:
    """Why VMAF cannot be measured here; ``None`` if it can."""
    if find_spec("imageio_ffmpeg") is None:
        return "the package imageio-ffmpeg is not installed"
    try:
        filters = subprocess.run(  # noqa: S603 - the program of a package
            [_ffmpeg(), "-hide_banner", "-filters"], capture_output=True, text=True, check=True
        ).stdout
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return f"the ffmpeg of imageio-ffmpeg does not run: {error}"
    return None if " libvmaf " in filters else "the ffmpeg of imageio-ffmpeg has no libvmaf"


def _ffmpeg() -> str:
    from imageio_ffmpeg import get_ffmpeg_exe

    return str(get_ffmpeg_exe())


class Vmaf:
    """VMAF of a video that comes in batches.

    Frames go through one pipe, the truth above the result, so that the program cannot wait for
    one while the other is due. Scores are known at the end. Use it in a ``with`` statement: leaving
    it ends the program.

    Args:
        bits: 8 or 10, what samples are rounded to.

    Raises:
        DependencyError: ``imageio-ffmpeg`` is missing, or its ffmpeg has no libvmaf.
    """

    def __init__(self, bits: int = 8) -> None:
        problem = vmaf_problem()
        if problem is not None:
            raise DependencyError(
                f"VMAF cannot be measured: {problem}",
                remedy="Install it with `pip install 'fdiwn-vsr[eval]'`, or leave VMAF out.",
            )
        self._bits = bits
        self._folder = tempfile.TemporaryDirectory(prefix="vsr-vmaf-")
        self._program: subprocess.Popen[bytes] | None = None
        self._chroma = b""

    def __enter__(self) -> Vmaf:
        return self

    def __exit__(self, *_: object) -> None:
        if self._program is not None:
            if self._program.poll() is None:
                self._program.kill()
            self._program.communicate()
        self._folder.cleanup()

    def add(self, result: Tensor, truth: Tensor) -> None:
        """The next frames.

        Args:
            result: ``(N, 1, H, W)`` luma as limited-range codes, nominally 16..235.
            truth: the same shape.

        Raises:
            BackendError: ffmpeg failed, or somebody ended it.
        """
        height, width = truth.shape[-2:]
        if self._program is None:
            self._start(width, height)
        program = self._program
        if program is None or program.stdin is None:  # for the type checker
            return
        scale, top = 1 << (self._bits - 8), (1 << self._bits) - 1
        stacked = torch.cat([truth, result], dim=-2)
        codes = (stacked.to(torch.float64) * scale).round_().clamp_(0, top)
        kind = torch.uint8 if self._bits == 8 else torch.uint16
        for frame in codes.to(kind).cpu().numpy():
            try:
                program.stdin.write(frame.tobytes())
                program.stdin.write(self._chroma)
            except BrokenPipeError:
                said = b"" if program.stderr is None else program.stderr.read()
                program.wait()
                raise self._failed(said) from None

    def finish(self) -> list[float]:
        """The score of each frame, 0..100.

        Raises:
            BackendError: ffmpeg failed, or somebody ended it.
        """
        if self._program is None:
            return []
        _, said = self._program.communicate()
        if self._program.returncode:
            raise self._failed(said)
        log = json.loads((Path(self._folder.name) / _LOG).read_text(encoding="utf-8"))
        return [float(frame["metrics"]["vmaf"]) for frame in log["frames"]]

    def _start(self, width: int, height: int) -> None:
        # Planes of 4:2:0 cannot be stacked at odd sizes.
        even = width % 2 == 0 and height % 2 == 0
        layout = ("yuv420p" if even else "yuv444p") + ("" if self._bits == 8 else "10le")
        samples = width * height * (1 if even else 4)  # of both pictures' chroma
        grey = 1 << (self._bits - 1)
        self._chroma = grey.to_bytes(1 if self._bits == 8 else 2, "little") * samples
        top = f"crop={width}:{height}:0:0:exact=1"
        bottom = f"crop={width}:{height}:0:{height}:exact=1"
        graph = (
            f"[0:v]split[a][b];[a]{top}[truth];[b]{bottom}[result];"
            f"[result][truth]libvmaf=model=version={_MODEL}:log_fmt=json:log_path={_LOG}:n_threads=1"
        )
        self._program = subprocess.Popen(  # noqa: S603 - the program of a package
            [
                *(_ffmpeg(), "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", layout),
                *("-s", f"{width}x{2 * height}", "-r", "25", "-i", "pipe:0"),
                *("-filter_complex", graph, "-f", "null", "-"),
            ],
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def _failed(self, said: bytes) -> BackendError:
        lines = said.decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else "it says nothing"
        code = 0 if self._program is None else self._program.returncode
        if code < 0:
            known = {number.value: number.name for number in signal.Signals}
            why = f"it was ended by {known.get(-code, f'signal {-code}')}"
        return BackendError(
            f"ffmpeg failed while measuring VMAF: {why}",
            remedy="Leave VMAF out of --metrics.",
        )
