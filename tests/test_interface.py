"""The Python interface as its users meet it: their own frames, threads, processes, early ends."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import torch
from synth import make_clip

import vsr
from vsr.engine import backend
from vsr.errors import BackendError, UsageError
from vsr.types import FrameBatch, PixelFormat, Report

linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what /proc lists")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", frames=6).path


@pytest.fixture
def network() -> vsr.Upscaler:
    return vsr.Upscaler(2, "bicubic", device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": "2"}, "scale must be a whole number, not '2'"),
        ({"scale": 2.0}, "scale must be a whole number, not 2.0"),
        ({"scale": True}, "scale must be a whole number, not True"),
        ({"scale": None}, "scale must be a whole number, not None"),
        ({"model": None}, "model must be a text that is not empty, not None"),
        ({"weights": b"x"}, "weights must be a name, or the path of a file, not b'x'"),
        ({"device": 0}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 0"),
        ({"dtype": torch.float16}, "dtype must be one of 'auto', 'float32', 'float16', "),
        ({"dtype": "float64"}, "dtype must be one of 'auto', 'float32', 'float16', "),
        ({"backend": 1}, "backend must be a text that is not empty, not 1"),
        ({"mode": None}, "mode must be a text that is not empty, not None"),
    ],
)
def test_what_a_network_does_not_take_is_an_error_that_names_it(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        vsr.Upscaler(**given)
    assert said in caught.value.what


@pytest.mark.parametrize("scale", [np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_other_libraries_are_whole_numbers(scale: Any) -> None:
    network = vsr.Upscaler(scale, "bicubic", device="cpu")
    assert type(network.scale) is int
    assert network(torch.ones(1, 3, 4, 4)).shape == (1, 3, 12, 12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch": 0}, "batch must be a whole number, 1 or more, not 0"),
        ({"batch": 2.0}, "batch must be a whole number, 1 or more, not 2.0"),
        ({"count": -1}, "count must be a whole number, 1 or more, not -1"),
        ({"start": -1}, "start must be a number of seconds, 0 or more, "),
        ({"start": "1"}, "start must be a number of seconds, 0 or more, "),
        ({"start": float("nan")}, "start must be a number of seconds, 0 or more, "),
        ({"end": float("inf")}, "end must be a number of seconds, 0 or more, "),
        ({"end": True}, "end must be a number of seconds, 0 or more, "),
        ({"video_stream": "0"}, "video_stream must be a whole number, 0 or more, not '0'"),
        ({"reader": None}, "reader must be a text that is not empty, not None"),
        ({"device": "gpu"}, "device must be 'cpu' or 'cuda:N', not 'gpu'"),
        ({"source": b"in.mp4"}, "source must be a path: text that is not empty, or a pathlib.Path"),
    ],
)
def test_what_frames_does_not_take_is_said_at_once(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        vsr.frames(**{"source": "is not looked at.mp4", **given})
    assert said in caught.value.what


def test_seconds_are_what_they_are_written_as(clip: Path) -> None:
    """The second frame is shown at 0.04, of which floats are not exactly that."""
    for start in (0.04, np.float64(0.04), np.float32(0.04)):
        (first, *_) = vsr.frames(clip, start=start, count=1)
        (second,) = [batch.pts for batch in vsr.frames(clip)][1:2]
        assert first.pts == second


def test_arrays_and_pictures_of_other_layouts_are_errors_that_help(network: vsr.Upscaler) -> None:
    array = np.zeros((1, 3, 4, 4), np.float32)
    cases: list[tuple[Any, str, str]] = [
        (array, "not numpy.ndarray", "torch.from_numpy(array)"),
        ([array], "not list", ""),
        (torch.ones(1, 4, 4, 3), "not 1x4x4x3", "frames.permute(0, 3, 1, 2)"),
        (torch.ones(4, 4, 3), "not 4x4x3", "frame[None].permute(0, 3, 1, 2)"),
        (torch.ones(()), "not a single number", ""),
        (torch.ones(1, 3, 4, 4) > 0, "not torch.bool", ""),
        (torch.ones(1, 3, 4, 4, dtype=torch.complex64), "not torch.complex64", ""),
    ]
    for frames, what, remedy in cases:
        with pytest.raises(UsageError) as caught:
            network(frames)
        assert what in caught.value.what
        assert remedy in caught.value.remedy


@pytest.mark.parametrize("model", ["bicubic", "fdiwn-m"])
def test_memory_layout_and_type_change_nothing(model: str) -> None:
    network = vsr.Upscaler(2, model, device="cpu")
    codes = torch.randint(0, 256, (2, 3, 8, 10), generator=torch.Generator().manual_seed(1))
    wanted = network(codes.float())
    for same in (
        codes,
        *(codes.to(kind) for kind in (torch.uint8, torch.uint16, torch.float64, torch.int64)),
        codes.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).float(),
        torch.stack([codes, codes], -1)[..., 0].float(),
        codes.float().requires_grad_(),
    ):
        before = same.detach().clone()
        assert torch.equal(network(same), wanted)
        assert torch.equal(same.detach(), before)


def test_a_result_is_its_callers_own(network: vsr.Upscaler, clip: Path) -> None:
    """torch lets nobody change a tensor of inference in place, nor learn from it."""
    rgb = network(torch.full((1, 3, 4, 4), 300.0))
    assert rgb.clamp_(0, 255).max() == 255
    weight = torch.ones(1, requires_grad=True)
    (rgb * weight).sum().backward()
    assert weight.grad is not None
    larger = network(next(vsr.frames(clip)))
    assert larger.planes[0].zero_().count_nonzero() == 0
    with torch.inference_mode():
        assert network(torch.ones(1, 3, 4, 4)).is_inference()


def test_planes_must_be_what_their_batch_says(network: vsr.Upscaler, clip: Path) -> None:
    batch = next(vsr.frames(clip, batch=2))
    form: Any = "yuv420p"
    arrays: Any = tuple(plane.numpy() for plane in batch.planes)
    cases = [
        (replace(batch, planes=batch.planes[:2]), "must measure"),
        (replace(batch, planes=()), "must measure"),
        (replace(batch, planes=tuple(plane[:1] for plane in batch.planes)), "planes of 2 frames"),
        (replace(batch, pts=(0,)), "planes of 1 frames"),
        (replace(batch, width=batch.width // 2), "must measure"),
        (replace(batch, width=0), "have no pixels"),
        (replace(batch, planes=tuple(plane.float() for plane in batch.planes)), "be torch.uint8"),
        (replace(batch, planes=arrays), "planes must be tensors, not numpy.ndarray"),
        (replace(batch, format=form), "format must be a vsr.types.PixelFormat, not 'yuv420p'"),
    ]
    for wrong, said in cases:
        with pytest.raises(UsageError, match=said):
            network(wrong)
    assert isinstance(batch.format, PixelFormat)
    own = replace(batch, planes=tuple(plane.mT.contiguous().mT for plane in batch.planes))
    for left, right in zip(network(own).planes, network(batch).planes, strict=True):
        assert torch.equal(left, right)


def open_files() -> list[str]:
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())


@linux
def test_who_leaves_early_leaves_nothing_open(clip: Path, tmp_path: Path) -> None:
    def closed() -> None:
        with closing(vsr.frames(clip)) as batches:
            next(batches)

    def left() -> None:
        for _ in vsr.frames(clip, batch=2):
            break

    def failed() -> None:
        with suppress(ZeroDivisionError):
            for _ in vsr.frames(clip):
                raise ZeroDivisionError

    def interrupted() -> None:
        with pytest.raises(ZeroDivisionError):
            vsr.upscale(clip, tmp_path / "out.mp4", model="bicubic", on_event=lambda _: 1 / 0)

    for end in (closed, left, failed, interrupted):
        end()  # what libraries keep for good they have from here on
        before = open_files(), threading.active_count()
        end()
        assert (open_files(), threading.active_count()) == before
    assert list(tmp_path.iterdir()) == []


def test_other_threads_may_do_it(clip: Path, tmp_path: Path, network: vsr.Upscaler) -> None:
    """Signals are the main thread's, and nothing here asks for them."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    rgb = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 255
    done: list[Report] = []
    larger: list[torch.Tensor] = []

    def work(number: int) -> None:
        larger.append(network(rgb))
        done.append(vsr.upscale(clip, tmp_path / f"{number}.mp4", model="bicubic"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.frames_out for report in done] == [6, 6, 6]
    assert all(torch.equal(each, network(rgb)) for each in larger)
    assert len({(tmp_path / f"{number}.mp4").read_bytes() for number in range(3)}) == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_network_can_be_sent_to_another_process() -> None:
    rgb = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 255
    network = vsr.Upscaler(2, "fdiwn-m", device="cpu")
    assert torch.equal(pickle.loads(pickle.dumps(network))(rgb), network(rgb))
    simple = vsr.Upscaler(3, "bicubic", device="cpu")
    assert torch.equal(copy.deepcopy(simple)(rgb), simple(rgb))


@pytest.fixture
def forked(network: vsr.Upscaler, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that was forked from one that has used a network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(backend, "_user", os.getpid() + 1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("forked")
def test_a_fork_says_that_it_has_no_threads(network: vsr.Upscaler, clip: Path) -> None:
    """torch would wait for them for ever."""
    asks = [
        lambda: vsr.Upscaler(2, "bicubic", device="cpu"),
        lambda: network(torch.ones(1, 3, 4, 4)),
        lambda: vsr.upscale(clip, model="bicubic", overwrite=True),
    ]
    for ask in asks:
        with pytest.raises(BackendError, match="was forked from one that has used") as caught:
            ask()
        assert "get_context('spawn')" in caught.value.remedy
    torch.set_num_threads(1)
    assert network(torch.ones(1, 3, 4, 4)).shape == (1, 3, 8, 8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_that_was_forked_knows_it(network: vsr.Upscaler) -> None:
    network(torch.ones(1, 3, 4, 4))
    context = multiprocessing.get_context("fork")
    end, other = context.Pipe(duplex=False)

    def work() -> None:
        torch.set_num_threads(2)
        try:
            network(torch.ones(1, 3, 4, 4))
        except BackendError as error:
            other.send(error)

    process = context.Process(target=work)
    process.start()
    process.join()
    assert end.poll()
    assert "was forked" in end.recv().what


def test_what_is_public_has_the_types_it_says(clip: Path, network: vsr.Upscaler) -> None:
    """mypy reads this file as it reads its users'."""
    with closing(vsr.frames(clip, device=torch.device("cpu"))) as batches:
        batch = next(batches)
    assert_type(batch, FrameBatch)
    rgb, alpha = vsr.to_rgb(batch.planes, batch.format, batch.color)
    assert_type(network(rgb), torch.Tensor)
    assert_type(network(batch), FrameBatch)
    assert_type(vsr.from_rgb(rgb, alpha, batch.format, batch.color), tuple[torch.Tensor, ...])
    assert alpha is None


@pytest.mark.parametrize("value", [None, 5, b"clip.mp4"])
def test_what_is_no_path_is_not_looked_for(value: Any) -> None:
    with pytest.raises(UsageError, match="path must be text or a pathlib"):
        vsr.probe(value)
