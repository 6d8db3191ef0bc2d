"""Runs a job in forked processes and kills them at random moments; started by tests.

Loading torch takes seconds. So it is loaded once here, and each run is a fork, made before any
thread exists. ``python zygote.py SOURCE DESTINATION KILLS SEED`` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def main(source: str, destination: str, kills: int, seed: int) -> None:
    import torch

    from pipelines.upscale import plan_upscale, run_upscale

    torch.set_num_threads(1)
    chance = random.Random(seed)
    told = {"kills": 0, "results": 0, "resumed": 0}

    def start() -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            plan = plan_upscale(source, destination, model="bicubic", speed="ultrafast")
            report = run_upscale(plan)
            code = 3 if report.resumed_frames else 0
        finally:
            os._exit(code)

    begun = time.monotonic()
    finish(start(), told)
    usual = time.monotonic() - begun
    while told["kills"] < kills:
        Path(destination).unlink(missing_ok=True)
        child = start()
        time.sleep(chance.uniform(0, usual))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            told["kills"] += 1
        elif os.waitstatus_to_exitcode(status) not in (0, 3):
            raise SystemExit("a run failed")
    # The last kill may have come when the result had its name already.
    if not Path(destination).exists():
        finish(start(), told)
    print(json.dumps(told))


def finish(child: int, told: dict[str, int]) -> None:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):
        raise SystemExit(f"a run ended with {code}")
    told["results"] += 1
    told["resumed"] += code == 3


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
