"""Random aligned crops, flipped and rotated, gathered on the device.

What a step sees depends on the seed and the step's number alone, so that a run goes on after a
kill as if nothing had happened.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from vsr.training.data.store import Store

__all__ = ["Batches", "Crops"]

#: Of its free memory, what the pictures may take on a device.
_DEVICE_SHARE = 0.5


class Crops:
    """Draws batches of a store.

    Args:
        store: the pairs; every side of LR has ``patch`` pixels or more.
        batch: crops in a batch. patch: their side, LR pixels.
        seed: of the draws.
        detail: of so many random places the most detailed is likeliest: flat sky teaches little.
        taught: share of a teacher's picture in HR, the rest being the original; where the store
            has a teacher's.
        device: where the pictures are gathered; all of them are moved there.
    """

    def __init__(
        self,
        store: Store,
        batch: int,
        patch: int,
        *,
        seed: int,
        detail: int = 1,
        taught: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self._scale, self._batch, self._patch = store.scale, batch, patch
        self._seed, self._detail = seed, detail
        self._lr, self._hr = store.lr.to(self.device), store.hr.to(self.device)
        self._taught = None if store.taught is None else store.taught.to(self.device)
        self._share = taught
        fields = ("lr", "width", "hr", "hr_width")
        table = [[getattr(entry, field) for field in fields] for entry in store.entries]
        self._table = torch.tensor(table, dtype=torch.int64)
        self._sizes = np.array([(entry.height, entry.width) for entry in store.entries])
        # A large image has more places than a small one.
        areas = self._sizes.prod(1).astype(np.float64)
        self._chance = np.cumsum(areas / areas.sum())
        self._lr_grid, self._hr_grid = (
            torch.arange(n, device=self.device) for n in (patch, patch * store.scale)
        )

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step.

        Returns:
            LR ``(N, 3, patch, patch)`` and HR ``(N, 3, scale * patch, scale * patch)``, float32
            codes of 0..255, channels last in memory, on the device.
        """
        rng = np.random.Generator(np.random.Philox(key=[self._seed, step]))
        count = self._batch * self._detail
        image = np.searchsorted(self._chance[:-1], rng.random(count), side="right")
        y, x = (
            np.minimum(rng.random(count) * (n - self._patch + 1), n - self._patch).astype(np.int64)
            for n in self._sizes[image].T
        )
        turned = rng.integers(0, 2, (3, self._batch))
        pick = self._sent(torch.from_numpy(rng.random(self._batch)))
        facts = self._sent(torch.cat([self._table[image].T, torch.from_numpy(np.stack([y, x]))]))
        if self._detail > 1:
            facts = self._choose(facts, pick)
        lr_first, lr_width, hr_first, hr_width, row, column = facts
        turns = self._sent(torch.from_numpy(turned))
        s = self._scale
        lr = _gather(self._lr, lr_first, lr_width, row, column, turns, self._lr_grid)
        place = hr_first, hr_width, row * s, column * s, turns, self._hr_grid
        hr = _gather(self._hr, *place)
        if self._taught is not None:
            hr = torch.lerp(hr, _gather(self._taught, *place), self._share)
        return lr, hr

    def _sent(self, values: Tensor) -> Tensor:
        """``values`` on the device; from other than page-locked memory a copy would wait for it."""
        if self.device.type == "cpu":
            return values
        return values.pin_memory().to(self.device, non_blocking=True)

    def _choose(self, facts: Tensor, pick: Tensor) -> Tensor:
        """Of ``detail`` places each, one, by the mean step between neighbours' greens."""
        first, width, _, _, row, column = (f[:, None, None] for f in facts)
        i, j = self._lr_grid[:, None], self._lr_grid
        green = self._lr[first + ((row + i) * width + column + j) * 3 + 1].to(torch.int32)
        # Whole numbers, so that every device and every order of summation chooses alike.
        total = green.diff(dim=1).abs().sum((1, 2)) + green.diff(dim=2).abs().sum((1, 2))
        detail = total.double() / (self._patch * (self._patch - 1)) + 0.5
        detail = detail.view(self._batch, self._detail)
        reach = detail.cumsum(1) / detail.sum(1, keepdim=True)
        chosen = (pick[:, None] > reach[:, :-1]).sum(1)
        index = torch.arange(self._batch, device=self.device) * self._detail + chosen
        return facts[:, index]


def _gather(
    flat: Tensor,
    first: Tensor,
    width: Tensor,
    row: Tensor,
    column: Tensor,
    turns: Tensor,
    grid: Tensor,
) -> Tensor:
    """Crops as ``(N, 3, n, n)`` float32, channels last.

    ``turns``, ``(3, N)`` of 0 and 1: transpose, then flip rows, then columns; together these are
    the eight flips and rotations. LR and HR are turned as wholes, so that they stay aligned.
    """
    last = grid[-1]
    i, j = grid[:, None].expand(len(grid), -1), grid[None]
    transpose, upside_down, mirrored = (t[:, None, None] for t in turns)
    source_i = torch.where(transpose > 0, j, i)
    source_j = torch.where(transpose > 0, i, j)
    source_i = torch.where(upside_down > 0, last - source_i, source_i)
    source_j = torch.where(mirrored > 0, last - source_j, source_j)
    first, width, row, column = (f[:, None, None] for f in (first, width, row, column))
    pixel = first + ((row + source_i) * width + column + source_j) * 3
    index = pixel[..., None] + torch.arange(3, device=flat.device)
    return flat[index].permute(0, 3, 1, 2).float()


class Batches:
    """Batches step by step on the training device, made while the step before is at work.

    Where a GPU has room, all pictures are moved there and gathered there, and nothing but a few
    numbers crosses the bus. Else a thread gathers the next batch on the CPU.

    Args:
        store, batch, patch, seed, detail, taught: as for :class:`Crops`.
        device: where the batches are wanted.
        first: the step to begin with.
    """

    def __init__(
        self,
        store: Store,
        batch: int,
        patch: int,
        *,
        seed: int,
        detail: int,
        device: torch.device,
        taught: float = 0.0,
        first: int = 0,
    ) -> None:
        self._device = device
        self.on_device = device.type == "cuda" and _fits(store, device)
        home = device if self.on_device else torch.device("cpu")
        self._crops = Crops(
            store, batch, patch, seed=seed, detail=detail, taught=taught, device=home
        )
        self._step = first
        self._thread = None if self.on_device else ThreadPoolExecutor(1, "crops")
        self._next: Future[tuple[Tensor, Tensor]] | None = None

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def seek(self, step: int) -> None:
        """Go on with this step."""
        self._step, self._next = step, None

    def take(self) -> tuple[Tensor, Tensor]:
        """The next step's batch, LR and HR as :class:`Crops` gives them."""
        step = self._step
        self._step += 1
        if self._thread is None:
            return self._crops(step)
        coming = self._next or self._thread.submit(self._host_batch, step)
        self._next = self._thread.submit(self._host_batch, step + 1)
        lr, hr = coming.result()
        if self._device.type == "cpu":
            return lr, hr
        return lr.to(self._device, non_blocking=True), hr.to(self._device, non_blocking=True)

    def _host_batch(self, step: int) -> tuple[Tensor, Tensor]:
        lr, hr = self._crops(step)
        return (lr, hr) if self._device.type == "cpu" else (lr.pin_memory(), hr.pin_memory())


def _fits(store: Store, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    files = [store.lr, store.hr] if store.taught is None else [store.lr, store.hr, store.taught]
    return sum(file.numel() for file in files) < _DEVICE_SHARE * free
