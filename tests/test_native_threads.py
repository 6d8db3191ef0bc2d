"""The C++ engine where the system does not give it the threads that it wants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vsr.engine.native import library as native

#: Of a thread's stack, which must find its place in the process's address space.
STACK = 512 << 20

# The limit of the address space leaves room for one more stack; the second of three further
# threads has none. Threads take the stack's size from the limit that the process started with.
WORK = f"""
import resource
import torch
from pathlib import Path
from vsr.engine.native.library import Network, Run, library
from vsr.engine.native.backend import run_trunk
from vsr.engine.native.pack import pack_trunk
from vsr.errors import BackendError
from vsr.models.registry import load_model

torch.set_num_threads(1)
net = load_model("fdiwn", 2).network
lib = library()
trunk = Network(lib, pack_trunk(net))
x = torch.rand((1, 3, 20, 24), generator=torch.Generator().manual_seed(0)) * 255

def features():
    with torch.inference_mode(), Run.open(lib, 20, 24, threads=4, half=False) as run:
        run_trunk(net, trunk, run, x)
        return run.read(0, 20)

expected = features()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + {STACK * 3 // 2}, before[1]))
try:
    features()
except BackendError as error:
    print(error.what)
resource.setrlimit(resource.RLIMIT_AS, before)
print(torch.equal(features(), expected))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it takes Linux's limits")
def test_too_few_threads_are_an_error_and_not_the_end(tmp_path: Path) -> None:
    problem = native.problem()
    if problem is not None:
        pytest.skip(problem)
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")
    command = f'ulimit -S -s {STACK >> 10} || exit 77; exec "$0" "$1"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("the stacks' limit cannot be raised here")
    assert done.returncode == 0, done.stderr
    said = "the native engine failed: the system gives it 2 of 4 threads"
    assert done.stdout.splitlines() == [said, "True"]
