"""What a GPU makes of FDIWN: each way to run it, against the training form and the device's limits.

Usage: ``python benchmarks/gpu.py [--sizes 960x540,1920x1080] [--scale 2] [--frames 20]
[--rows 'triton;triton, graphs'] [--profile]``. Prints Markdown tables; figures are kept as JSON.

Limits are measured in the same run: bytes a second of a copy, products a second of a large matrix
product in float16. ``memory`` and ``arithmetic`` are the shares of these that a row reaches if it
moves only what stages fused between statistics must, and multiplies only what the network does.

``--device cpu`` tries the code with tiny sizes; it leaves out what takes minutes there unless
``--rows`` names it, and keeps nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import record
import torch
from clips import noise_clip
from torch import Tensor

from pipelines.bench.network import training_form
from vsr.engine.backend import Backend
from vsr.engine.cuda.backend import CudaBackend
from vsr.engine.run import Clocks, upscaled
from vsr.engine.torch_backend import TorchBackend
from vsr.engine.upscaler import Upscaler
from vsr.errors import VsrError
from vsr.media.probe import probe
from vsr.media.read.reader import READERS, ReadRequest, open_reader
from vsr.models.cost import count_multiply_adds
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.registry import load_model
from vsr.types import ChromaSite, Color, ColorRange, FrameBatch, Matrix, ModelPlan, pixel_format

#: Bytes that go through memory for a pixel of input, if nothing is written but what a later stage
#: needs after statistics of the whole frame or neighbours: 16-bit maps of 24 channels.
FUSED_BYTES = 41_000
#: Rows that take minutes on a CPU.
SLOW_ON_CPU = {"compile, graphs", "triton", "triton, graphs"}

Network = Callable[[Tensor], Tensor]


def baseline(scale: int, device: str, *, tf32: bool) -> Network:
    """The network in the form it is trained in, eager.

    Args:
        scale, device: its own.
        tf32: convolutions may round to eleven bits, as torch lets them unless told otherwise.
    """
    net = training_form(ModelPlan("fdiwn", scale), device)

    def run(rgb: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            return cast(Tensor, net(rgb))

    return run


def networks(scale: int, device: str) -> dict[str, Callable[[], Network]]:
    """By name, what builds each row."""
    plan = ModelPlan("fdiwn", scale)
    cuda = device != "cpu"
    half = "float16" if cuda else "float32"

    def backend(kernels: str, *, graphs: bool) -> Callable[[], Network]:
        return lambda: CudaBackend(
            plan,
            device,
            half,
            kernels=kernels,  # type: ignore[arg-type]
            graphs=graphs and cuda,
        )

    return {
        "training form, float32": lambda: baseline(scale, device, tf32=False),
        "training form, TF32": lambda: baseline(scale, device, tf32=True),
        "inference form, float32": lambda: TorchBackend(plan, device, "float32"),
        "inference form, float16": lambda: TorchBackend(plan, device, half),
        "torch": backend("torch", graphs=False),
        "torch, graphs": backend("torch", graphs=True),
        "compile, graphs": backend("compile", graphs=True),
        "triton": backend("triton", graphs=False),
        "triton, graphs": backend("triton", graphs=True),
    }


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: str, times: int) -> float:
    """Of one call: the median of three rows of ``times``, after three calls to warm up."""
    for _ in range(3):
        work()
    rows = []
    for _ in range(3):
        wait(device)
        begun = time.perf_counter()
        for _ in range(times):
            work()
        wait(device)
        rows.append((time.perf_counter() - begun) / times)
    return statistics.median(rows)


def limits(device: str) -> dict[str, float]:
    """Bytes and multiply-adds a second that the device reaches at its best."""
    size, side, dtype = (1 << 30, 8192, torch.float16) if device != "cpu" else (
        1 << 24, 256, torch.float32,
    )  # fmt: skip
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    moved = 2 * size / seconds(lambda: target.copy_(source), device, 10)
    a = torch.randn(side, side, device=device, dtype=dtype)
    b = torch.empty_like(a)
    multiplied = side**3 / seconds(lambda: torch.mm(a, a, out=b), device, 10)
    return {"bytes_per_second": moved, "multiply_adds_per_second": multiplied}


def measured(
    name: str, build: Callable[[], Network], rgb: Tensor, times: int, exact: Tensor | None
) -> tuple[dict[str, Any], Tensor | None]:
    """A row and its result; what could not be run says why."""
    device = str(rgb.device)
    row: dict[str, Any] = {"network": name}
    if device != "cpu":
        gc.collect()
        torch.cuda.empty_cache()
    try:
        network = build()
        with torch.inference_mode():
            begun = time.perf_counter()
            result = network(rgb)
            wait(device)
            row["first_call_seconds"] = time.perf_counter() - begun
            if device != "cpu":
                torch.cuda.reset_peak_memory_stats(device)
            row["ms"] = 1000 * seconds(lambda: network(rgb), device, times) / len(rgb)
    except (VsrError, RuntimeError) as error:
        return row | {"failed": " ".join(str(error).split())[:200]}, None
    if device != "cpu":
        # A graph's own memory is not allocated, but reserved.
        row["peak_bytes"] = torch.cuda.max_memory_reserved(device)
    if notes := getattr(network, "notes", []):
        row["notes"] = list(notes)
    result = result.float().cpu()
    if exact is not None:
        a, b = (x.clamp(0, 255).round() for x in (result, exact))
        row["within_a_code"] = ((a - b).abs() <= 1).float().mean().item()
    return row, result


def table(
    size: str, arguments: argparse.Namespace, found: dict[str, float]
) -> list[dict[str, Any]]:
    """Print and return the rows of one size."""
    width, height = (int(n) for n in size.split("x"))
    scale, device = arguments.scale, arguments.device
    net = cast(FdiwnInference, load_model("fdiwn", scale).network)
    products = count_multiply_adds(net)[0] * width * height
    floors = {
        "memory": 1000 * FUSED_BYTES * width * height / found["bytes_per_second"],
        "arithmetic": 1000 * products / found["multiply_adds_per_second"],
    }
    print(
        f"\n{size} -> {width * scale}x{height * scale}, at the measured limits: "
        f"{floors['memory']:.3g} ms of memory, {floors['arithmetic']:.3g} ms of arithmetic\n"
    )
    print(
        "| network | ms/frame | ratio | memory | arithmetic | within a code | peak GB | first s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    coarse = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=torch.manual_seed(0)) * 255
    rgb = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    rgb = rgb.clamp(0, 255).to(device)
    rows: list[dict[str, Any]] = []
    exact, baseline = None, None
    for name, build in networks(scale, device).items():
        if arguments.rows is None and device == "cpu" and name in SLOW_ON_CPU:
            continue
        if rows and arguments.rows is not None and name not in arguments.rows:
            continue
        row, result = measured(name, build, rgb, arguments.frames, exact)
        exact = result if exact is None else exact
        row |= {"size": size, "scale": scale}
        if "ms" in row:
            baseline = row["ms"] if baseline is None else baseline
            row["ratio"] = baseline / row["ms"]
            row |= {f"{key}_share": floor / row["ms"] for key, floor in floors.items()}
            within = f"{row['within_a_code']:.3%}" if "within_a_code" in row else ""
            print(
                f"| {name} | {row['ms']:.4g} | {row['ratio']:.2f} | {row['memory_share']:.0%} | "
                f"{row['arithmetic_share']:.0%} | {within} | "
                f"{row.get('peak_bytes', 0) / 1e9:.2f} | {row['first_call_seconds']:.1f} |",
                flush=True,
            )
            for note in row.get("notes", []):
                print(f"| ({note}) | | | | | | | |")
        else:
            print(f"| {name} | failed: {row['failed']} | | | | | | |", flush=True)
        rows.append(row)
    return rows


def stream(size: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Decode and enlarge a clip and drop the result, with each reader, and the network alone."""
    width, height = (int(n) for n in size.split("x"))
    device, frames = arguments.device, max(8, arguments.frames * 4)
    upscaler = Upscaler(arguments.scale, device=device)
    rgb = torch.rand(1, 3, height, width, device=device) * 255
    with torch.inference_mode():
        alone = 1 / seconds(lambda: upscaler(rgb), device, arguments.frames)
    rows = []
    color = Color(Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        noise_clip(clip, width, height, frames)
        video = probe(str(clip)).videos[0]
        for name in READERS:
            row: dict[str, Any] = {"reader": name, "size": size, "network_fps": alone}
            clocks = Clocks()
            try:
                begun, count = 0.0, 0
                with (
                    open_reader(
                        name, ReadRequest(str(clip), video, color=color, device=device)
                    ) as reader,
                    upscaled(reader, upscaler, pixel_format("yuv420p"), color, clocks) as items,
                ):
                    for item in items:
                        if isinstance(item, FrameBatch):
                            count += len(item)
                            if count == 4:  # what fills the queues is not counted
                                begun = time.perf_counter()
            except VsrError as error:
                print(f"- {size}, {name}: {error.what}")
                rows.append(row | {"failed": error.what})
                continue
            row["stream_fps"] = (count - 4) / (time.perf_counter() - begun)
            row["share"] = row["stream_fps"] / alone
            row["busy_seconds"] = {clock.name: clock.busy for clock in clocks}
            print(
                f"- {size}, {name}: {row['stream_fps']:.4g} frames/s decoded and enlarged, "
                f"{row['share']:.0%} of the network alone ({alone:.4g})",
                flush=True,
            )
            rows.append(row)
    return rows


def profile(size: str, arguments: argparse.Namespace) -> None:
    """Print the kernels that take longest, launched one by one."""
    width, height = (int(n) for n in size.split("x"))
    network: Backend = CudaBackend(
        ModelPlan("fdiwn", arguments.scale), arguments.device, "float16", graphs=False
    )
    rgb = torch.rand(1, 3, height, width, device=arguments.device) * 255
    for _ in range(3):
        network(rgb)
    with torch.profiler.profile() as found:
        network(rgb)
        wait(arguments.device)
    order = "self_cpu_time_total" if arguments.device == "cpu" else "self_cuda_time_total"
    print(found.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=48))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--sizes", default="960x540,1920x1080")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int, default=20, help="timed in a row, three times")
    parser.add_argument(
        "--rows", type=lambda names: names.split(";"), help="besides the first; 'torch;triton'"
    )
    parser.add_argument("--profile", action="store_true", help="also print the longest kernels")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    found = limits(arguments.device)
    print(
        f"{name}, torch {torch.__version__}: copy {found['bytes_per_second'] / 1e9:.4g} GB/s, "
        f"matrix product {2 * found['multiply_adds_per_second'] / 1e12:.4g} TFLOP/s"
    )
    rows: list[dict[str, Any]] = [{"device": name, **found}]
    for size in arguments.sizes.split(","):
        rows += table(size, arguments, found)
        print()
        rows += stream(size, arguments)
        if device.type == "cuda":  # what has been measured is kept, whatever comes next
            print(record.save(f"gpu-x{arguments.scale}", rows).name, flush=True)
        if arguments.profile:
            profile(size, arguments)


if __name__ == "__main__":
    main()
