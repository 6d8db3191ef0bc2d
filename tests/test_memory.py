"""What one frame has freed, the next one takes again."""

from __future__ import annotations

import subprocess
import sys

import pytest

# As in a run, where the network has a thread of its own.
CODE = """
import resource, threading, torch
import vsr
from pipelines.memory import keep_freed_memory

keep_freed_memory()

def frames(count):
    for _ in range(count):
        upscaler(pixels)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    frames(8)
    before = faults()
    frames(8)
    print(faults() - before)

upscaler = vsr.Upscaler(2, "bicubic", device="cpu")
pixels = torch.rand(1, 3, 480, 854) * 255
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc that is told")
def test_a_thread_does_not_get_its_memory_anew_for_each_frame() -> None:
    """A result alone is 4800 pages of 4 KB."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 * 1000
