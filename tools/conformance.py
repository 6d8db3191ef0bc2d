"""Upscale every reference clip with the command line and check the results with another ffmpeg.

For each file of ``clips`` and ``nasty``: runs ``vsr upscale``, decodes source and result with an
ffmpeg that is not PyAV's, and compares frame counts and timestamps with each other and with
``facts.json``. Prints a Markdown table and writes JSON.

    python tools/conformance.py --model bicubic
    python tools/conformance.py --model fdiwn --frames 8
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from independent import decode_frames  # noqa: E402 - lives with the tests that share it


def result_suffix(source: Path) -> str:
    """Keep the container where it can be written, else Matroska."""
    return source.suffix if source.suffix in {".mp4", ".mov", ".mkv", ".webm"} else ".mkv"


def run(source: Path, destination: Path, args: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Run the command line; its exit code and its last JSON event."""
    command = [sys.executable, "-m", "vsr", "upscale", str(source), "-o", str(destination)]
    command += ["-s", str(args.scale), "--model", args.model, "--json", *args.extra]
    if args.frames:
        command += ["--frames", str(args.frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = lines[-1] if lines else {"message": done.stderr.strip()[-300:]}
    last = last.get("report", last)
    return done.returncode, last


def compare(source: Path, destination: Path, facts: dict[str, Any], limit: int | None) -> str:
    """Empty if frames and timestamps are right, else what is not."""
    want, got = decode_frames(source), decode_frames(destination)
    times = list(want.times)
    if limit:
        # Only the end is cut off, so every frame keeps its own time.
        times = times[:limit]
    elif len(times) != facts["decoded_v0_frames"]:
        return f"facts.json says {facts['decoded_v0_frames']} frames, ffmpeg gives {len(times)}"
    if len(times) != len(got.times):
        return f"{len(got.times)} frames instead of {len(times)}"
    # Sources that start below zero are shifted as a whole.
    shift = max(Fraction(0), -min(times))
    # Matroska and WebM count milliseconds: half a tick each for source and result.
    off = max(abs(g - w - shift) for g, w in zip(got.times, times, strict=True))
    return "" if off <= Fraction(1, 1000) else f"timestamps are off by up to {float(off):.4f} s"


def main() -> int:
    """Run over all files; exit 1 if any is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=os.environ.get("VSR_REFERENCE"))
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--only", default="", help="files whose name contains this")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("extra", nargs="*", help="further options for vsr upscale, after --")
    args = parser.parse_args()
    reference = args.reference or ROOT / ".." / "shared" / "reference"
    facts = json.loads((reference / "facts.json").read_text())
    rows = []
    print("| file | frames | pts | exit | seconds | note |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, fact in facts.items():
            if args.only not in name:
                continue
            source = reference / name
            destination = Path(folder) / f"{source.stem}{result_suffix(source)}"
            begun = time.perf_counter()
            code, event = run(source, destination, args)
            seconds = time.perf_counter() - begun
            if fact["decoded_v0_frames"] == 0:
                wrong = "" if code != 0 else "should have failed"
                wrong = wrong or ("left a file behind" if any(Path(folder).iterdir()) else "")
                note = f"fails as it must: {event.get('what') or event.get('message', '')}"
            elif code != 0:
                wrong = f"failed: {event.get('what') or event.get('message', '')}"
                note = ""
            else:
                wrong = compare(source, destination, fact, args.frames)
                note = "; ".join(event.get("given_up", []))
            count = event.get("frames_out", 0)
            good = "equal" if not wrong else f"**{wrong}**"
            print(f"| {name} | {count} | {good} | {code} | {seconds:.1f} | {note} |", flush=True)
            rows.append(
                {"file": name, "frames": count, "exit": code, "wrong": wrong, "note": note,
                 "seconds": round(seconds, 2)}
            )  # fmt: skip
            destination.unlink(missing_ok=True)
    failed = [row for row in rows if row["wrong"]]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} as they must be")
    if args.json:
        args.json.write_text(json.dumps({"arguments": sys.argv[1:], "rows": rows}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
