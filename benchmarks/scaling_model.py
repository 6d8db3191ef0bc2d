"""What 1, 10, 100 and 1000 devices would give, and where more of them stop helping: a model.

Usage: ``python benchmarks/scaling_model.py [--rate 30] [--network 1.25e9] [--shared]``.
Nothing here is measured but what the arguments say: rates of the network are assumptions until
somebody measures them (`vsr bench` on the device in question). Prints a Markdown table.

The model, for one job of ``F`` frames on ``N`` devices, as `pipelines/distributed` does it:

* ``S = ceil(F / L)`` segments of ``L`` frames, ``P = min(N, S)`` devices at work.
* The driver reads the source's packets once: ``B / disk`` seconds for ``B`` bytes.
* Devices: ``ceil(S / P) (L / rate + c)`` seconds, ``c`` what a segment costs besides its frames.
* The driver's network, full duplex: ``B / network`` out (not with shared storage), ``R / network``
  in for ``R`` bytes of result; its disk: ``R / disk``. All of that overlaps with the devices, so
  the slowest counts.
* Joining: segments are read, the result is written and read back: ``3 R / disk``.
* Start: ``t0`` seconds for workers, network, graphs.

Efficiency is the time that one device would compute, over ``N`` times the time taken.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass

import record

DEVICES = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True)
class Job:
    """One video.

    Attributes:
        name: for people.
        frames, segment: frames, and of a segment.
        source_bytes, result_bytes: sizes of the files.
        rate: frames per second of one device, encoding beside it.
    """

    name: str
    frames: int
    segment: int
    source_bytes: float
    result_bytes: float
    rate: float


@dataclass(frozen=True, slots=True)
class Site:
    """What the devices hang on.

    Attributes:
        network, disk: bytes per second of the driver.
        shared: nodes read the source from shared storage.
        start: seconds until the first frame of a worker.
        per_segment: seconds that a segment costs besides its frames.
    """

    network: float = 1.25e9
    disk: float = 1e9
    shared: bool = False
    start: float = 15.0
    per_segment: float = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of a job, its efficiency in 0..1, and what it waits for most."""

    seconds: float
    efficiency: float
    bound_by: str


def estimate(job: Job, site: Site, devices: int) -> Estimate:
    """Time of ``job`` on ``devices`` devices; see the module for the equations."""
    segments = math.ceil(job.frames / job.segment)
    rounds = math.ceil(segments / min(devices, segments))
    length = min(job.segment, job.frames)
    busy = {
        "devices": rounds * (length / job.rate + site.per_segment),
        "network out": 0.0 if site.shared else job.source_bytes / site.network,
        "network in": job.result_bytes / site.network,
        "disk": job.result_bytes / site.disk,
    }
    middle = max(busy.values())
    alone = {
        "start": site.start,
        "scan": job.source_bytes / site.disk,
        "join": 3 * job.result_bytes / site.disk,
    }
    seconds = middle + sum(alone.values())
    slowest = max({**busy, **alone}.items(), key=lambda item: item[1])[0]
    if slowest == "devices" and devices > segments:
        slowest = "segments"
    ideal = job.frames / job.rate + site.per_segment * segments
    return Estimate(seconds, ideal / (devices * seconds), slowest)


def jobs(rate: float) -> list[Job]:
    """Typical ones; ``rate`` is that of 1080p to 4K, other sizes go by their pixels."""
    small = rate * 9  # 640x360 has a ninth of the pixels
    film = Job("2 h film, 1080p24 to 4K", 172_800, 240, 9e9, 40e9, rate)
    clip = Job("10 min clip, 360p25 to 720p", 15_000, 250, 60e6, 300e6, small)
    return [film, clip]


def duration(seconds: float) -> str:
    """``1 h 36 min``, ``4.1 min``, ``35 s``."""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=30, help="frames/s of 1080p to 4K, assumed")
    parser.add_argument("--network", type=float, default=1.25e9, help="bytes/s of the driver")
    parser.add_argument("--disk", type=float, default=1e9, help="bytes/s of the driver")
    parser.add_argument("--shared", action="store_true", help="the source is on shared storage")
    parser.add_argument("--films", type=int, default=1000, help="films of the library")
    parser.add_argument("--save", action="store_true", help="keep the figures as JSON")
    arguments = parser.parse_args()
    site = Site(arguments.network, arguments.disk, arguments.shared)
    rows = []
    print(f"assumed: {arguments.rate:g} frames/s a device, 1080p to 4K; {site}\n")
    print("| job | devices | time | efficiency | waits most for |\n|---|---|---|---|---|")
    typical = jobs(arguments.rate)
    for job in typical:
        for devices in DEVICES:
            found = estimate(job, site, devices)
            rows.append({"job": job.name, "devices": devices, **asdict(found)})
    # A library is done by many drivers at once, each with devices, network and disk of its own.
    film, group = typical[0], 10
    for devices in DEVICES:
        each = min(group, devices)
        found = estimate(film, site, each)
        seconds = math.ceil(arguments.films / (devices // each)) * found.seconds
        told = f"{arguments.films} films, {group} devices a driver"
        row = {"job": told, "devices": devices, **asdict(found), "seconds": seconds}
        rows.append(row)
    for row in rows:
        print(
            f"| {row['job']} | {row['devices']} | {duration(row['seconds'])} "
            f"| {row['efficiency']:.0%} | {row['bound_by']} |"
        )
    if arguments.save:
        print(f"\nkept in {record.save('scaling-model', [asdict(site), *rows]).name}")


if __name__ == "__main__":
    main()
