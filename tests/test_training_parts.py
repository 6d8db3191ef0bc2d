"""Schedule, time budget, flat parameters, moving average, clipping, recipe, log."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.errors import InputError, ModelError, OutputError, UsageError
from vsr.models.bicubic import Bicubic
from vsr.models.fdiwn import Fdiwn
from vsr.models.fdiwn_recipe import build, parameter_groups
from vsr.training.average import MovingAverage, share_of_step
from vsr.training.clipping import UsualNorm
from vsr.training.flat import FlatParameters
from vsr.training.recipe import recipe_for
from vsr.training.records import Log, LogRow, load_checkpoint, plot, save_checkpoint
from vsr.training.schedule import Schedule, steps_within
from vsr.training.settings import TrainSettings
from vsr.training.validation import validate


def test_cosine_rises_and_falls_to_a_thousandth() -> None:
    schedule = Schedule("cosine", 1e-3, 1000, 0.1)
    rates = [schedule.rate(step) for step in range(1001)]
    assert rates[0] == pytest.approx(1e-3 * 0.5 / 100)
    assert rates[100] == pytest.approx(1e-3)
    assert rates[550] == pytest.approx(1e-3 * (0.001 + 0.999 * 0.5))
    assert rates[1000] == pytest.approx(1e-6)
    assert all(a < b for a, b in pairwise(rates[:101]))
    assert all(a > b for a, b in pairwise(rates[100:]))


def test_papers_schedule_halves_after_each_fifth() -> None:
    schedule = Schedule("paper", 2e-4, 1000)
    found = [schedule.rate(step) for step in (0, 199, 200, 400, 600, 800, 999, 1000)]
    assert found == pytest.approx([2e-4, 2e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5, 1.25e-5, 1.25e-5])


@given(st.integers(1, 500), st.integers(1, 2000), st.sampled_from(["cosine", "paper"]))
def test_fitting_anew_is_no_jump_and_ends_on_time(step: int, total: int, kind: str) -> None:
    before = Schedule(kind, 1e-3, 500, 0.05)  # type: ignore[arg-type]
    after = before.fitted(step, total)
    assert after.total == max(total, step + 1)
    assert after.at(step) == before.at(step)
    assert after.at(after.total) == pytest.approx(1)
    assert after.fitted(step, 500 if step < 500 else 501).at(step) == before.at(step)


def test_steps_within_a_time() -> None:
    assert steps_within(100, [0.9, 1.0, 50.0]) == 100
    assert steps_within(100, [1.0], overhead=0.25) == 80
    assert steps_within(-3, [1.0]) == 1


def test_average_follows_its_definition() -> None:
    values = torch.zeros(1)
    average = MovingAverage(values)
    expected = 0.0
    for step, value in enumerate((1.0, -2.0, 3.0, 5.0, 8.0, 0.5, 7.0, 7.0, 1.0, 2.0, 3.0, 4.0)):
        share = torch.tensor(share_of_step(step, 0.6))
        average.update(torch.tensor([value], requires_grad=True), share)
        decay = min(0.6, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * value
        assert values.item() == pytest.approx(expected, rel=1e-5)
    assert not values.requires_grad


def test_flattened_parameters_are_the_network_s() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 1, bias=False)).double()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    other = copy.deepcopy(net)
    x = torch.rand(2, 2, 6, 5, dtype=torch.float64)
    flat = FlatParameters(list(net.parameters()))
    assert flat.values.shape == (sum(p.numel() for p in other.parameters()),)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
    for rate in (0.1, 0.02):
        for n in (net, other):
            n.zero_grad()
            n(x).square().sum().backward()
        flat.take_gradients()
        assert flat.values.grad is flat.gradient
        assert all(p.grad is None for p in net.parameters())
        theirs = [cast(Tensor, p.grad) for p in other.parameters()]
        norms = torch.stack([torch.linalg.vector_norm(grad) for grad in theirs])
        assert flat.gradient.norm().item() == pytest.approx(norms.norm().item())
        with torch.no_grad():
            flat.values -= rate * flat.gradient
            for p, grad in zip(other.parameters(), theirs, strict=True):
                p -= rate * grad
        assert torch.equal(net(x), other(x))
    net[0](x).sum().backward()
    flat.take_gradients()
    assert not flat.gradient[-net[1].weight.numel() :].any(), "nothing has come to the last layer"


def test_clipping_learns_what_is_usual() -> None:
    usual = UsualNorm(2.0)
    for _ in range(30):
        usual.note(torch.tensor(10.0))
    assert usual.factor(torch.tensor(15.0)).item() == 1
    assert usual.factor(torch.tensor(200.0)).item() == pytest.approx(0.1)
    usual.note(torch.tensor(math.inf))
    usual.note(torch.tensor(math.nan))
    assert usual.factor(torch.tensor(200.0)).item() == pytest.approx(0.1)
    usual.note(torch.tensor(1e9))  # counts as four times the usual
    assert usual.factor(torch.tensor(200.0)).item() == pytest.approx(2 * 11.5 / 200)


def test_nothing_is_clipped_at_first_or_if_not_wanted() -> None:
    usual, never = UsualNorm(2.0), UsualNorm(0)
    for _ in range(20):
        for one in (usual, never):
            one.note(torch.tensor(1.0))
            assert one.factor(torch.tensor(1e6)).item() == 1
    never.note(torch.tensor(1.0))
    assert never.factor(torch.tensor(1e6)).item() == 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("variant", ["fdiwn", "fdiwn-m"])
def test_networks_start_near_bicubic(variant: str, scale: int) -> None:
    torch.manual_seed(0)
    net = build(variant, scale)
    net.features_up.weight.data.zero_()
    x = torch.rand(1, 3, 12, 12) * 255
    inner = (..., slice(3 * scale, -3 * scale), slice(3 * scale, -3 * scale))
    with torch.no_grad():
        assert (net(x)[inner] - Bicubic(scale)(x)[inner]).abs().max() < 0.01


def test_picture_layers_learn_slowly_and_gains_fast() -> None:
    net = Fdiwn(2)
    rest, slow, gains = parameter_groups(net)
    names = {id(p): name for name, p in net.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in slow["params"]} == {
        "subtract_mean", "add_mean", "head", "input_widen", "input_up",
    }  # fmt: skip
    assert {names[id(p)].split(".")[-1] for p in gains["params"]} == {
        "g", "wide_scale", "skip_scale", "body_scale", "scale_a", "scale_b", "affine_bias",
        "affine_weight", "mean_bias", "mean_weight", "norm_bias", "norm_weight",
    }  # fmt: skip
    assert sum(len(g["params"]) for g in (rest, slow, gains)) == len(names)
    assert slow["share"] < rest["share"] == 1 < gains["share"]


def noisy(scale: int, variant: str) -> Fdiwn:
    torch.manual_seed(1)
    return build(variant, scale)


def test_same_scale_and_variant_is_taken_whole() -> None:
    other = noisy(2, "fdiwn")
    net = build("fdiwn", 2, other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("scale", [3, 4])
def test_another_scale_takes_the_trunk_and_keeps_its_function(scale: int) -> None:
    other = noisy(2, "fdiwn")
    net = build("fdiwn", scale, other.state_dict())
    h = torch.randn(1, 24, 8, 8)
    with torch.no_grad():
        assert torch.allclose(net.trunk(h), other.trunk(h), atol=1e-4, rtol=1e-4)
    assert net.scale == scale


@pytest.mark.parametrize("scale", [2, 3])
def test_another_scale_s_mean_shift_casts_no_colour(scale: int) -> None:
    """At x4 the picture passes the shift, whose trained form the fresh tail does not know."""
    other = noisy(scale, "fdiwn-m")
    with torch.no_grad():
        other.subtract_mean.weight += 0.1 * torch.randn(3, 3, 1, 1)
        cast(Tensor, other.subtract_mean.bias).add_(torch.tensor([-20.0, 10.0, 30.0]))
    net, fresh = build("fdiwn-m", 4, other.state_dict()), noisy(4, "fdiwn-m")
    x = torch.rand(1, 3, 9, 11) * 255
    with torch.no_grad():
        ours, theirs = (n.head(n.subtract_mean(x))[..., 1:-1, 1:-1] for n in (net, other))
        assert torch.allclose(ours, theirs, atol=1e-4)
        for n in (net, fresh):
            n.features_up.weight.zero_()
            n.features_up.bias.zero_()
        assert (net(x) - fresh(x)).abs().max() < 1e-3


def test_small_variant_takes_the_first_two_groups() -> None:
    other = noisy(2, "fdiwn")
    net = build("fdiwn-m", 2, other.state_dict())
    state, theirs = net.state_dict(), other.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in state.items())
    assert len(net.groups) == 2


def test_large_variant_starts_as_the_small_one() -> None:
    other = noisy(2, "fdiwn-m")
    net = build("fdiwn", 2, other.state_dict())
    x = torch.rand(1, 3, 8, 8) * 255
    with torch.no_grad():
        assert torch.allclose(net(x), other(x), atol=1e-3)


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(ModelError, match="neither fdiwn's nor fdiwn-m's"):
        build("fdiwn", 2, {"a": torch.zeros(1)})


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="no weights to train"):
        recipe_for("bicubic", 2)
    with pytest.raises(UsageError, match="no scale 5"):
        recipe_for("fdiwn", 5)
    with pytest.raises(ModelError, match="fdiwnn"):
        recipe_for("fdiwnn", 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0}, {"patch": 4}, {"rate": 0}, {"average": 1}, {"steps": 5, "time_budget": 60},
        {"weight_decay": 0.01}, {"weight_decay": 0.01, "optimiser": "adam"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TrainSettings(**wrong)  # type: ignore[arg-type]


def test_settings_come_back_and_say_what_differs(tmp_path: Path) -> None:
    settings = TrainSettings(data="a", rate=3e-4)
    settings.save(tmp_path / "s.json")
    assert TrainSettings.load(tmp_path / "s.json") == settings
    assert settings.differences(TrainSettings(data="a")) == ["rate: 0.0008 instead of 0.0003"]
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(InputError, match="settings cannot be read"):
        TrainSettings.load(tmp_path / "s.json")


def row(step: int, psnr: float | None = None) -> LogRow:
    return LogRow(step, 1e-4, 5.25, psnr, 12.5, 0.01, step / 2)


def test_log_is_cut_where_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = Log(path, 0)
    for step in (10, 20, 30):
        log.add(row(step, 30.5 if step == 20 else None))
    with path.open("a") as file:
        file.write("40,1e-4,5")  # killed in the middle of a line
    assert Log(path, 20).read() == [row(10), row(20, 30.5)]
    assert path.read_text().splitlines()[0].startswith("step,rate,loss,validation_psnr_y")


def test_curves_are_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="curves need matplotlib")
    from PIL import Image

    assert plot(tmp_path / "c.png", [row(10), row(20, 31.0)], "fdiwn_x2", 30.0) == ""
    with Image.open(tmp_path / "c.png") as image:
        assert image.size == (990, 550)
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]


def test_without_matplotlib_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "matplotlib" in plot(tmp_path / "c.png", [row(10)], "fdiwn_x2", 30.0)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"import this\n"])
def test_damaged_checkpoint_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [{"learner": {}}, [1, 2]], ids=["dictionary", "list"])
def test_another_version_s_checkpoint_is_an_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match="another version's") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "--start-from" in caught.value.remedy
    save_checkpoint(tmp_path / "c.pt", {"step": 3})
    assert load_checkpoint(tmp_path / "c.pt")["step"] == 3


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 600 bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_finds_no_room_leaves_what_was_there(tmp_path: Path) -> None:
    checkpoint, settings, log = (tmp_path / name for name in ("c.pt", "s.json", "log.csv"))
    save_checkpoint(checkpoint, {"step": 3})
    TrainSettings().save(settings)
    for step in range(1, 30):
        Log(log, step).add(row(step))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    large = TrainSettings(data="x" * 900)
    for write in (
        lambda: save_checkpoint(checkpoint, {"net": torch.zeros(1000)}),
        lambda: large.save(settings),
        lambda: Log(log, 30),
        lambda: Log(tmp_path / "gone" / "log.csv", 0),
    ):
        with full_disk(), pytest.raises(OutputError, match="cannot write a file there"):
            write()
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    appended = Log(log, 30)
    with full_disk(), pytest.raises(OutputError, match="cannot write a file there"):
        appended.add(row(30))


class _Off(nn.Module):
    """Each pixel four times, so many codes off in flat pictures and in others."""

    def __init__(self, flat: int, busy: int) -> None:
        super().__init__()
        self.flat, self.busy = flat, busy

    def forward(self, x: Tensor) -> Tensor:
        off = self.busy if float(x.std()) else self.flat
        return (x + off).repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_flat_picture_does_not_decide_which_weights_are_kept() -> None:
    flat = torch.full((1, 3, 8, 8), 90, dtype=torch.uint8)
    busy = (torch.arange(192).view(1, 3, 8, 8) % 90 + 60).to(torch.uint8)
    pairs = [(x, x.repeat_interleave(2, 2).repeat_interleave(2, 3)) for x in (flat, busy, busy)]
    nets = _Off(1, 2), _Off(0, 3)
    better, worse = (validate(net, pairs, 2, torch.device("cpu")) for net in nets)
    psnr = [20 * math.log10(255 / (off * 219 / 255)) for off in range(1, 4)]
    assert better == pytest.approx((psnr[0] + 2 * psnr[1]) / 3), "what is below 50 dB is as it is"
    assert worse == pytest.approx((50 + 2 * psnr[2]) / 3)
    assert better > worse
