"""The table of models: every row loads and runs, every wrong request says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vsr.errors import ModelError
from vsr.models import MODELS, LoadedModel, load_model, model_spec
from vsr.models.fdiwn import Fdiwn, Variant
from vsr.models.weights import save_weights, sha256

ROWS = [(spec.name, scale) for spec in MODELS.values() for scale in spec.scales]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with untrained weights for every row that needs some."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, scale in ROWS:
        if MODELS[name].has_weights:
            variant: Variant = "fdiwn-m" if name == "fdiwn-m" else "fdiwn"
            state = Fdiwn(scale, variant).state_dict()
            save_weights(
                folder / f"{name}_x{scale}.safetensors", state, {"model": name, "scale": str(scale)}
            )
    return folder


def _load(name: str, scale: int, weights: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    path = weights / f"{name}_x{scale}.safetensors" if MODELS[name].has_weights else None
    return load_model(name, scale, path, dtype=dtype)


@pytest.mark.parametrize(("name", "scale"), ROWS)
def test_every_row_loads_and_enlarges(name: str, scale: int, weights: Path) -> None:
    model = _load(name, scale, weights)
    result = model(255 * torch.rand(2, 3, 9, 7))
    assert (model.name, model.scale, model.spec) == (name, scale, MODELS[name])
    assert result.shape == (2, 3, 9 * scale, 7 * scale)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    assert not model.network.training
    assert not any(p.requires_grad for p in model.network.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_every_row_runs_in_every_dtype_it_claims(name: str, weights: Path) -> None:
    for dtype in MODELS[name].dtypes:
        model = _load(name, 2, weights, dtype=getattr(torch, dtype))
        result = model(255 * torch.rand(1, 3, 8, 8))
        assert result.dtype == torch.float32
        assert result.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_every_row_runs_at_its_smallest_size(name: str, weights: Path) -> None:
    size = MODELS[name].min_size
    assert _load(name, 2, weights)(torch.full((1, 3, size, size), 99.0)).isfinite().all()


def test_opening_a_model_does_not_import_the_compiler() -> None:
    """It takes seconds, and whatever is computed on the device "meta" wants it."""
    program = (
        "import sys, vsr; vsr.Upscaler(scale=2, device='cpu'); "
        "print('torch._dynamo' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"


def test_weights_are_named_and_hashed(weights: Path) -> None:
    path = weights / "fdiwn_x2.safetensors"
    model = load_model("fdiwn", 2, str(path))
    assert (model.weights_name, model.weights_sha256) == (path.name, sha256(path))
    assert load_model("bicubic", 2).weights_sha256 == ""


def test_unknown_model_suggests_a_known_one() -> None:
    with pytest.raises(ModelError, match="'fdiwm'") as error:
        model_spec("fdiwm")
    assert "Did you mean 'fdiwn" in error.value.remedy


def test_unsupported_scale_and_dtype() -> None:
    with pytest.raises(ModelError, match="no scale 5") as error:
        load_model("fdiwn", 5)
    assert "2, 3, 4" in error.value.remedy
    with pytest.raises(ModelError, match="does not run in bfloat16"):
        load_model("bicubic", 2, dtype=torch.bfloat16)


def test_bicubic_takes_no_weights() -> None:
    with pytest.raises(ModelError, match="bicubic has no weights"):
        load_model("bicubic", 2, "some.safetensors")


def test_a_network_without_weights_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "SHA256SUMS").touch()
    monkeypatch.setattr("vsr.models.weights.FOLDER", tmp_path)
    monkeypatch.setattr("vsr.models.sets.MANIFEST", tmp_path / "SHA256SUMS")
    with pytest.raises(ModelError, match="no clean weights for fdiwn-m at x2") as error:
        load_model("fdiwn-m", 2)
    assert "--weights FILE" in error.value.remedy


def test_weights_of_another_scale_or_model_are_recognised(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"look like fdiwn x3 weights, the request is fdiwn x2"):
        load_model("fdiwn", 2, weights / "fdiwn_x3.safetensors")
    with pytest.raises(ModelError, match=r"look like fdiwn-m x4 weights, the request is fdiwn x4"):
        load_model("fdiwn", 4, weights / "fdiwn-m_x4.safetensors")


def test_authors_weights_of_another_scale_are_recognised(reference: Path) -> None:
    path = reference / "weights" / "fdiwn_x3_authors.pt"
    with pytest.raises(ModelError, match=r"look like fdiwn x3 weights, the request is fdiwn x2"):
        load_model("fdiwn", 2, path)


def test_wrong_file_names_what_is_missing(tmp_path: Path) -> None:
    state = Fdiwn(2).state_dict()
    del state["head.weight"]
    state["tail.weight"] = torch.zeros(1)
    state["head.bias"] = torch.zeros(7)
    path = tmp_path / "damaged.safetensors"
    save_weights(path, state, {})
    with pytest.raises(ModelError) as error:
        load_model("fdiwn", 2, path)
    assert error.value.where == str(path)
    assert "1 missing (head.weight)" in error.value.what
    assert "1 unexpected (tail.weight)" in error.value.what
    assert "1 of another shape (head.bias (7,) instead of (24,))" in error.value.what


def test_many_differences_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(ModelError, match=r"1591 missing \((\S+, ){3}\.\.\.\)"):
        load_model("fdiwn", 2, path)
