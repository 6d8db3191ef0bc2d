"""Train FDIWN on a folder of prepared photos, on a CPU, within a given number of minutes.

Usage: ``python tools/train_weights.py prepare PHOTOS CACHE`` once, then
``python tools/train_weights.py train CACHE OUT --scale 2 --minutes 45 [--start-from x2_best.pt]``
and ``python tools/train_weights.py export OUT/x2_best.pt --training "how"``. Needs Pillow.

The schedule (warm-up, then a cosine to nearly zero) runs on elapsed time, so that a run ends when
it has to whatever the machine does meanwhile. A run that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from PIL import Image
from torch import Tensor, nn

from vsr.models.bicubic import imresize, resize_matrix
from vsr.models.fdiwn import CHANNELS, MEAN_RGB, Fdiwn
from vsr.models.weights import MANIFEST, save_weights, sha256, shipped, shipped_path

VALIDATION_EVERY = 13
VALIDATION_SIZE = 240
#: Learning rate of the layers that see raw 0..255 codes, relative to the others'.
PICTURE_RATE = 0.05
PICTURE_LAYERS = ("subtract_mean.", "add_mean.", "head.", "input_")


def prepare(photos: Path, cache: Path) -> None:
    """Store each photo as arrays: HR, and LR by MATLAB's bicubic at every scale."""
    cache.mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in photos.rglob("*") if p.is_file()):
        image = Image.open(path).convert("RGB")
        if path.suffix.lower() in (".jpg", ".jpeg"):
            # Shrinking removes the compression artefacts, which must not be learnt.
            factor = max(2.0, max(image.size) / 2000)
            size = (round(image.width / factor), round(image.height / factor))
            image = image.resize(size, Image.Resampling.BICUBIC)
        hr = np.asarray(image)
        hr = hr[: hr.shape[0] // 12 * 12, : hr.shape[1] // 12 * 12]
        np.save(cache / f"{path.stem}_x1.npy", hr)
        for scale in (2, 3, 4):
            np.save(cache / f"{path.stem}_x{scale}.npy", imresize(hr, 1 / scale))


class Photos:
    """Pairs of LR and HR images at one scale, kept in memory."""

    def __init__(self, cache: Path, scale: int, names: list[str]) -> None:
        self.scale = scale
        self.pairs = [
            (np.load(cache / f"{n}_x{scale}.npy"), np.load(cache / f"{n}_x1.npy")) for n in names
        ]
        areas = np.array([lr.shape[0] * lr.shape[1] for lr, _ in self.pairs], dtype=np.float64)
        self.chance = areas / areas.sum()

    def crop(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One random aligned crop, flipped and rotated.

        Of three places the most detailed one is likeliest: flat sky teaches little.
        """
        s = self.scale
        places = []
        for index in rng.choice(len(self.pairs), 3, p=self.chance):
            lr, hr = self.pairs[index]
            y, x = (int(rng.integers(0, n - size + 1)) for n in lr.shape[:2])
            patch = lr[y : y + size, x : x + size]
            green = patch[..., 1].astype(np.int16)
            detail = float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green)).mean())
            places.append((detail, patch, hr[y * s : (y + size) * s, x * s : (x + size) * s]))
        weights = np.array([p[0] + 0.5 for p in places])
        _, lr, hr = places[rng.choice(3, p=weights / weights.sum())]
        turns = int(rng.integers(4))
        lr, hr = np.rot90(lr, turns), np.rot90(hr, turns)
        return (lr[:, ::-1], hr[:, ::-1]) if rng.random() < 0.5 else (lr, hr)

    def batch(self, rng: np.random.Generator, count: int, size: int) -> tuple[Tensor, Tensor]:
        crops = [self.crop(rng, size) for _ in range(count)]
        lr, hr = (
            torch.from_numpy(np.stack([c[i] for c in crops])).permute(0, 3, 1, 2).float()
            for i in (0, 1)
        )
        return lr, hr


def luma(rgb: Tensor) -> Tensor:
    weights = torch.tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
    return 16 + (rgb.double() * weights).sum(1)


def validation_psnr(net: Fdiwn, pairs: list[tuple[Tensor, Tensor]]) -> float:
    net.eval()
    total = 0.0
    with torch.inference_mode():
        for lr, hr in pairs:
            s = net.scale
            error = luma(net(lr).clamp(0, 255).round()) - luma(hr)
            total += 10 * math.log10(255**2 / error[:, s:-s, s:-s].square().mean().item())
    net.train()
    return total / len(pairs)


def validation_pairs(photos: Photos) -> list[tuple[Tensor, Tensor]]:
    pairs = []
    s, size = photos.scale, VALIDATION_SIZE // photos.scale
    for lr, hr in photos.pairs:
        y, x = (lr.shape[0] - size) // 2, (lr.shape[1] - size) // 2
        crops = lr[y : y + size, x : x + size], hr[y * s : (y + size) * s, x * s : (x + size) * s]
        low, high = (torch.from_numpy(c.copy()).permute(2, 0, 1)[None].float() for c in crops)
        pairs.append((low, high))
    return pairs


@torch.no_grad()
def initialise(net: Fdiwn) -> None:
    """Start as MATLAB's bicubic: the input tail is its 5x5 kernel, the features add little.

    The tail's two 3x3 convolutions have no activation between them. Nine hidden channels per
    colour hold the nine neighbours, and the second convolution reaches one pixel further.
    """
    s = net.scale
    kernel = torch.tensor(resize_matrix(11, float(s))[5 * s : 6 * s, 3:8]).float()
    widen, up = net.input_widen, net.input_up
    assert widen.bias is not None and up.bias is not None
    used = 27
    widen.weight[:used] = 0
    widen.bias.zero_()
    up.weight.zero_()
    first, second = (0, 1, 1, 1, 2), (0, 0, 1, 2, 2)
    taps = up.weight.view(3, s, s, -1, 3, 3)
    for colour in range(3):
        for i in range(9):
            widen.weight[colour * 9 + i, colour, i // 3, i % 3] = 1
        for dy in range(5):
            for dx in range(5):
                hidden = colour * 9 + first[dy] * 3 + first[dx]
                taps[colour, :, :, hidden, second[dy], second[dx]] += torch.outer(
                    kernel[:, dy], kernel[:, dx]
                )
    mean = torch.zeros(3) if s == 4 else torch.tensor(MEAN_RGB)
    up.bias.copy_(-mean.repeat_interleave(s * s))
    # Codes are about 60 around the mean; the trunk is at ease with features near 1.
    assert net.head.bias is not None and net.features_up.bias is not None
    net.head.weight /= 64
    net.head.bias.zero_()
    net.features_up.weight *= 0.1
    net.features_up.bias.zero_()


@torch.no_grad()
def start_from(net: Fdiwn, other: Fdiwn) -> None:
    """Take over another scale's trunk and what it adds to the interpolation.

    Wider inner layers keep their function: the extra channels' outgoing weights are zero. The
    features' tail is linear, so a narrower one is its best low-rank approximation, and a phase of
    the new scale starts as the nearest phase of the old.
    """
    theirs = other.state_dict()
    for name, ours in net.state_dict().items():
        if name.startswith(("groups.", "head.", "subtract_mean.")):
            if name.endswith("reduce.v"):
                ours.zero_()
            ours[tuple(slice(n) for n in theirs[name].shape)] = theirs[name]
    s, t = net.scale, other.scale
    width, old_width = net.features_widen.weight.shape[0], other.features_widen.weight.shape[0]
    widen = other.features_widen.weight.flatten(1)
    up = other.features_up.weight.view(3, t, t, old_width, 3, 3)
    if width != old_width:
        after = up.movedim(3, -1).reshape(-1, old_width)
        u, values, v = torch.linalg.svd(after @ widen, full_matrices=False)
        root = values[:width].sqrt()
        widen = root[:, None] * v[:width]
        up = (u[:, :width] * root).view(3, t, t, 3, 3, width).movedim(-1, 3)
    nearest = [min(t - 1, int((p + 0.5) * t / s)) for p in range(s)]
    net.features_widen.weight.copy_(widen.view(width, CHANNELS, 3, 3))
    net.features_up.weight.copy_(
        up[:, nearest][:, :, nearest].reshape(net.features_up.weight.shape)
    )


def rate(elapsed: float, budget: float, peak: float) -> float:
    """Learning rate: a minute's warm-up, then a cosine down to a thousandth of the peak."""
    warm = min(60.0, 0.05 * budget)
    if elapsed < warm:
        return peak * max(elapsed / warm, 0.02)
    fraction = min(1.0, (elapsed - warm) / (budget - warm))
    return peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * fraction)))


class Run:
    """A network being trained, its average, its optimiser, and how far they are."""

    def __init__(self, scale: int, start: Path | None) -> None:
        self.net = Fdiwn(scale)
        initialise(self.net)
        if start:
            state = torch.load(start, weights_only=True)
            other = Fdiwn(state["scale"])
            other.load_state_dict(state["ema"])
            if other.scale == scale:
                self.net = other
            else:
                start_from(self.net, other)
        self.average = copy.deepcopy(self.net)
        self.net.to(memory_format=torch.channels_last)
        slow, fast = [], []
        for name, parameter in self.net.named_parameters():
            (slow if name.startswith(PICTURE_LAYERS) else fast).append(parameter)
        self.optimiser = torch.optim.Adam(
            [{"params": fast, "share": 1.0}, {"params": slow, "share": PICTURE_RATE}],
            betas=(0.9, 0.99),
            fused=True,
        )
        self.step, self.elapsed, self.usual_norm, self.best = 0, 0.0, 0.0, 0.0

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.usual_norm, self.best = state["norm"], state["best"]

    def save(self, out: Path, quality: float) -> None:
        """Write the checkpoint, and the average if validation has not been better before."""
        finished = {"scale": self.net.scale, "ema": self.average.state_dict(), "step": self.step}
        if quality > self.best:
            self.best = quality
            _replace(out / f"x{self.net.scale}_best.pt", {**finished, "validation": quality})
        going_on = {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "elapsed": self.elapsed,
            "norm": self.usual_norm,
            "best": self.best,
        }
        _replace(out / f"x{self.net.scale}.ckpt", finished | going_on)

    def update(self, lr: Tensor, hr: Tensor, learning_rate: float) -> float:
        """One step; returns the loss, in codes."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate * group["share"]
        with torch.autocast("cpu", torch.bfloat16):
            sr = self.net(lr.contiguous(memory_format=torch.channels_last))
        loss = F.l1_loss(sr, hr)
        loss.backward()
        # The loss is in codes; what counts as an outlier is learnt from the run itself.
        limit = 2 * self.usual_norm if self.step > 20 else math.inf
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), limit))
        if math.isfinite(norm):
            self.optimiser.step()
            usual = self.usual_norm
            self.usual_norm = 0.95 * usual + 0.05 * min(norm, 4 * usual) if usual else norm
        else:
            print(f"step {self.step}: gradient not finite, step left out", flush=True)
        self.optimiser.zero_grad()
        decay = min(0.998, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - decay
            )
        self.step += 1
        return loss.item()


def _replace(path: Path, content: object) -> None:
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)


def train(args: argparse.Namespace) -> None:
    """Train one scale until its minutes are over."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    names = sorted(p.name.removesuffix("_x1.npy") for p in args.cache.glob("*_x1.npy"))
    held_out = names[5::VALIDATION_EVERY]
    pairs = validation_pairs(Photos(args.cache, args.scale, held_out))
    photos = Photos(args.cache, args.scale, [n for n in names if n not in held_out])

    run = Run(args.scale, args.start_from)
    checkpoint = args.out / f"x{args.scale}.ckpt"
    if checkpoint.exists():
        run.resume(checkpoint)
    for group in run.net.groups:
        for block in (group.wdib1, group.wdib2, group.wdib3, group.wirw):
            block.compile(fullgraph=True, dynamic=False)
    rng = np.random.default_rng((args.seed, args.scale, run.step))
    print(
        f"x{args.scale} step {run.step}: {validation_psnr(run.average, pairs):.3f} dB", flush=True
    )

    budget, first, mean_loss = args.minutes * 60, run.step, 0.0
    last = last_check = time.monotonic()
    while run.elapsed < budget:
        peak = rate(run.elapsed, budget, args.rate)
        loss = run.update(*photos.batch(rng, args.batch, args.patch), peak)
        mean_loss = 0.98 * mean_loss + 0.02 * loss if mean_loss else loss
        now = time.monotonic()
        if run.step - first > 2:  # compiling is not training time
            run.elapsed += now - last
        last = now
        if now - last_check > args.check_every or run.elapsed >= budget:
            quality = validation_psnr(run.average, pairs)
            print(
                f"x{args.scale} step {run.step} {run.elapsed / 60:.1f} min lr {peak:.1e} "
                f"L1 {mean_loss:.3f} validation {quality:.3f} dB",
                flush=True,
            )
            run.save(args.out, quality)
            last_check = time.monotonic()


def export(args: argparse.Namespace) -> None:
    """Write a run's best weights as the shipped file of its scale, and the list of hashes."""
    best = torch.load(args.best, weights_only=True)
    metadata = {
        "model": "fdiwn",
        "scale": str(best["scale"]),
        "format": "1",
        "steps": str(best["step"]),
        "training": args.training,
        "validation_psnr_y": f"{best['validation']:.3f}",
    }
    path = shipped_path("fdiwn", best["scale"])
    save_weights(path, best["ema"], metadata, dtype=torch.float16)
    MANIFEST.write_text("".join(f"{sha256(file)}  {file.name}\n" for file in shipped()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare")
    command.add_argument("photos", type=Path)
    command.add_argument("cache", type=Path)
    command = commands.add_parser("train")
    command.add_argument("cache", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--scale", type=int, required=True)
    command.add_argument("--minutes", type=float, required=True)
    command.add_argument("--start-from", type=Path)
    command.add_argument("--rate", type=float, default=8e-4)
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--patch", type=int, default=32)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--check-every", type=float, default=120)
    command = commands.add_parser("export")
    command.add_argument("best", type=Path)
    command.add_argument("--training", required=True, help="how it was trained, one sentence")
    args = parser.parse_args()
    if args.command == "prepare":
        prepare(args.photos, args.cache)
    elif args.command == "train":
        train(args)
    else:
        export(args)


if __name__ == "__main__":
    main()
