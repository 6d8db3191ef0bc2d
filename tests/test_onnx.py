"""ONNX files: what they compute is what torch computes, and they say what they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from test_models_fdiwn import _awkward

import pipelines.export as job
from pipelines.export import export_onnx
from vsr.cli.group import cli
from vsr.engine.backend import AUTO_ORDER, open_backend
from vsr.engine.device import choose_device
from vsr.engine.onnx import file as cached
from vsr.errors import BackendError, DependencyError, ModelError, OutOfMemoryError, UsageError
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.onnx import export
from vsr.models.onnx.record import Recorder
from vsr.models.onnx.runtimes import RUNTIMES, runtime_problem
from vsr.models.registry import LoadedModel, load_model, model_spec, weights_path
from vsr.models.weights import sha256
from vsr.types import ModelPlan

#: Within this of torch in float32, in codes of 0..255.
EXACT = 1e-3


@pytest.fixture(params=sorted(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if (problem := export.problem((name,))) is not None:
        pytest.skip(problem)
    return name


@pytest.fixture
def onnx() -> Any:
    if (problem := export.problem()) is not None:
        pytest.skip(problem)
    return pytest.importorskip("onnx")


def noise(*shape: int) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def awkward(variant: Any, scale: int) -> LoadedModel:
    network = FdiwnInference(_awkward(variant, scale))
    cpu = torch.device("cpu")
    return LoadedModel(model_spec(variant), scale, network, cpu, torch.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_backends_equal_torch_on_batches_and_odd_sizes(runtime: str, scale: int) -> None:
    backend = open_backend(runtime, ModelPlan("fdiwn", scale), "cpu", "float32")
    reference = open_backend("torch", ModelPlan("fdiwn", scale), "cpu", "float32")
    assert backend.weights_sha256 == reference.weights_sha256
    for shape in ((3, 3, 17, 23), (1, 3, 1, 1), (1, 3, 2, 3), (2, 3, 40, 31)):
        x = noise(*shape)
        assert (backend(x) - reference(x)).abs().max().item() < EXACT


def test_a_strided_batch_and_the_result_before_stay_as_they_are(runtime: str) -> None:
    backend = open_backend(runtime, ModelPlan("fdiwn", 2), "cpu", "float32")
    x = noise(1, 3, 12, 10)
    first = backend(x.to(memory_format=torch.channels_last))
    kept = first.clone()
    backend(noise(1, 3, 12, 10) / 2)
    assert torch.equal(first, kept)


def test_the_cached_file_is_used_again_and_made_anew_for_other_weights(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    made: list[LoadedModel] = []

    def write(model: LoadedModel, **_: Any) -> export.Exported:
        made.append(model)
        return export.Exported(model.weights_sha256.encode(), 0.0, runtime)

    monkeypatch.setattr(cached, "to_onnx", write)
    first = cached.exported(ModelPlan("fdiwn", 2), runtime)
    assert cached.exported(ModelPlan("fdiwn", 2), runtime) == first
    assert len(made) == 1
    (written,) = tmp_path.glob("vsr/onnx/*")
    assert written.read_bytes() == first[0]
    assert first[1] in written.name
    cached.exported(ModelPlan("fdiwn", 3), runtime)
    assert [model.scale for model in made] == [2, 3]
    assert len(list(tmp_path.glob("vsr/onnx/*"))) == 2


def test_auto_never_takes_them(runtime: str) -> None:
    assert runtime not in AUTO_ORDER
    assert choose_device("cpu", runtime).dtypes == ("float32",)
    with pytest.raises(BackendError, match="bicubic"):
        choose_device("cpu", runtime, model="bicubic")
    with pytest.raises(BackendError, match="float16"):
        open_backend(runtime, ModelPlan("fdiwn", 2), "cpu", "float16")


def test_a_missing_package_is_an_error_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in RUNTIMES:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            assert f"fdiwn-vsr[{name}]" in (runtime_problem(name) or "")
            with pytest.raises(BackendError, match=name):
                choose_device("cpu", name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match="onnx") as caught:
        export_onnx(str(tmp_path / "a.onnx"))
    assert "fdiwn-vsr[onnx]" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_runtimes_errors_become_ours(runtime: str) -> None:
    with pytest.raises(BackendError, match="cannot load"):
        RUNTIMES[runtime](b"no network", 1)


def test_a_runtime_without_memory_says_so(onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    said = ["Failed to allocate memory for requested buffer of size 9", "bad shape"]

    class Session:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": "rgb"})]

        def run(self, *_: Any) -> None:
            raise RuntimeException(said.pop(0))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    run = RUNTIMES["onnxruntime"](b"", 1)
    with pytest.raises(OutOfMemoryError, match="1x3x4x4"):
        run(noise(1, 3, 4, 4))
    with pytest.raises(BackendError, match="bad shape"):
        run(noise(1, 3, 4, 4))


@pytest.mark.slow
@pytest.mark.parametrize("opset", [17, 18, job.NEWEST_OPSET])
@pytest.mark.parametrize(("variant", "scale"), [("fdiwn", 2), ("fdiwn-m", 3), ("fdiwn-m", 4)])
def test_random_weights_pass_the_check(onnx: Any, variant: str, scale: int, opset: int) -> None:
    """Units that are switched off and negative scalars too, which trained weights lack."""
    made = export.to_onnx(awkward(variant, scale), opset=opset)
    model = onnx.load_from_string(made.content)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset


def test_the_file_says_what_it_is(onnx: Any, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    arguments = ["export", "--onnx", str(path), "-s", "3", "--size", "20x14", "--json"]
    ran = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    said = json.loads(ran.stdout)
    weights = weights_path("fdiwn", 3)
    assert weights is not None
    assert said["difference"] < EXACT
    assert (said["bytes"], said["opset"]) == (path.stat().st_size, 17)
    model = onnx.load(path)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["weights_sha256"] == said["weights_sha256"] == sha256(weights)
    assert (props["model"], props["scale"], props["licence"]) == ("fdiwn", "3", "Apache-2.0")
    shapes = [
        [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[1, 3, 14, 20], [1, 3, 42, 60]]
    runtime = next(name for name in RUNTIMES if runtime_problem(name) is None)
    x = noise(1, 3, 14, 20)
    expected = load_model("fdiwn", 3)(x)
    assert (RUNTIMES[runtime](path.read_bytes(), 1)(x) - expected).abs().max().item() < EXACT


@pytest.mark.slow
def test_half_precision_is_near_and_takes_float32_frames(onnx: Any, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    done = export_onnx(str(path), dtype="float16")
    assert done.difference < 0.255
    model = onnx.load(path)
    ends = (*model.graph.input, *model.graph.output)
    types = {value.type.tensor_type.elem_type for value in ends}
    assert types == {onnx.TensorProto.FLOAT}
    assert any(one.data_type == onnx.TensorProto.FLOAT16 for one in model.graph.initializer)


def test_a_file_that_is_not_exact_is_not_left_behind(
    onnx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_difference", lambda *_: float("nan"))
    with pytest.raises(ModelError, match="differs from torch"):
        export_onnx(str(tmp_path / "wrong.onnx"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "wishes", "said"),
    [
        ("a.pt", {}, "does not end in .onnx"),
        ("a.onnx", {"opset": 16}, "opset 16"),
        ("a.onnx", {"dtype": "bfloat16"}, "bfloat16"),
        ("a.onnx", {"size": (0, 4)}, "0x4"),
    ],
)
def test_what_makes_no_sense_is_an_error(
    tmp_path: Path, name: str, wishes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        export_onnx(str(tmp_path / name), **wishes)
    assert list(tmp_path.iterdir()) == []


def test_other_models_and_operations_are_errors(onnx: Any) -> None:
    with pytest.raises(ModelError, match="bicubic cannot be exported"):
        export.check_exportable("bicubic")
    x = noise(1, 3, 4, 4)
    with pytest.raises(ModelError, match="no translation"), Recorder(x, "x", 17):
        x.cumsum(1)
