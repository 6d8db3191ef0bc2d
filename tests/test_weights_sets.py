"""Sets of weights by name: what ships, what is installed, and damage found before use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from synth import Clip
from weights_helpers import QUICK, files, plan_of

import vsr
from pipelines.upscale import plan_upscale
from pipelines.weights import import_weights, verify_weights, weights_facts
from vsr.cli.entry import run
from vsr.errors import ModelError
from vsr.models.fdiwn import Fdiwn
from vsr.models.sets import all_weights, manifest
from vsr.models.weights import FOLDER, read_metadata, read_weights, save_weights, sha256, shipped

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the clean set as it ships, to be changed."""
    folder = tmp_path / "package"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*_video.safetensors"))
    manifest = folder / "SHA256SUMS"
    kept = [line for line in manifest.read_text().splitlines() if "_video." not in line]
    manifest.write_text("\n".join([*kept, ""]))
    monkeypatch.setattr("vsr.models.weights.FOLDER", folder)
    monkeypatch.setattr("vsr.models.sets.FOLDER", folder)
    monkeypatch.setattr("vsr.models.sets.MANIFEST", folder / "SHA256SUMS")
    return folder


def flat_clip(path: Path) -> Path:
    """A second of grey, which takes H.264 next to no bits."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((288, 320), 128, np.uint8), "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Damage


def test_a_damaged_import_is_named_and_not_used(
    checkpoint: Path, tiny: Clip, tmp_path: Path, capsys: Captured
) -> None:
    path = Path(import_weights(str(checkpoint), "mine").path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # one bit of one weight: still a readable file
    path.write_bytes(content)
    read_weights(path)
    with pytest.raises(ModelError, match="mine weights for fdiwn at x3 are damaged") as error:
        vsr.Upscaler(3, weights="mine", device="cpu")
    assert error.value.where == str(path)
    out = tmp_path / "out.mp4"
    assert run(["upscale", str(tiny.path), "-o", str(out), "-s", "3", "--weights", "mine"]) == 7
    err = capsys.readouterr().err
    assert f"{path}: the mine weights" in err
    assert "import it again" in err
    assert not out.exists()
    # Nobody else is held up.
    assert run(["upscale", str(tiny.path), "-o", str(out), "--quiet", *QUICK]) == 0
    assert run(["weights", "verify"]) == 7
    out_, err = capsys.readouterr()
    assert str(path) in err
    assert out_.count(" ok") == len(manifest())
    assert run(["doctor", "--json"]) in (0, 8)
    state = {f["name"]: f["state"] for f in json.loads(capsys.readouterr().out)}
    assert (state["clean"], state["mine"]) == ("ok", "absent")


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_damaged_shipped_weights_are_essential(
    how: str, package: Path, tiny: Clip, tmp_path: Path, capsys: Captured
) -> None:
    path = package / "fdiwn_x2.safetensors"
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    else:
        path.unlink()
    assert run(["weights", "verify", "--json"]) == 7
    checked = {c["file"]["path"]: c["problem"] for c in json.loads(capsys.readouterr().out)}
    assert [p for p, problem in checked.items() if problem] == [str(path)]
    assert f"clean weights for fdiwn at x2 are {how}" in checked[str(path)]
    assert run(["weights"]) == 0
    assert ("missing" in capsys.readouterr().out) is (how == "missing")
    assert run(["doctor", "--json"]) == 8
    findings = json.loads(capsys.readouterr().out)
    (found,) = [f for f in findings if (f["area"], f["name"]) == ("weights", "clean")]
    assert found["state"] == "failed"
    assert how in found["text"]
    assert str(path) in found["text"]
    out = tmp_path / "out.mp4"
    assert run(["upscale", str(tiny.path), "-o", str(out)]) == 7
    assert "Install the package again." in capsys.readouterr().err
    assert run(["upscale", str(tiny.path), "-o", str(out), "-s", "3", "--quiet", *QUICK]) == 0


@pytest.mark.parametrize("content", [None, "not hashes\n", "\xff"])
def test_without_its_list_the_package_is_not_whole(
    content: str | None, package: Path, tiny: Clip, capsys: Captured
) -> None:
    if content is None:
        (package / "SHA256SUMS").unlink()
    else:
        (package / "SHA256SUMS").write_text(content, encoding="latin-1")
    assert run(["weights"]) == 7
    assert "cannot read the list of shipped weights" in capsys.readouterr().err
    assert run(["doctor", "--json"]) == 8
    findings = json.loads(capsys.readouterr().out)
    assert [f["state"] for f in findings if f["area"] == "weights"] == ["failed"]
    assert run(["upscale", str(tiny.path)]) == 7


# What ships


def test_every_shipped_file_is_in_the_list_and_whole() -> None:
    assert list(manifest()) == [path.name for path in shipped()]
    assert [(c.file.path, c.problem) for c in verify_weights() if c.problem] == []
    assert {(f.set, f.model, f.scale) for f in all_weights()} >= {
        ("clean", "fdiwn", scale) for scale in (2, 3, 4)
    }


def test_a_set_that_appears_is_chosen_and_can_be_named(
    package: Path, tiny: Clip, tmp_path: Path, capsys: Captured
) -> None:
    torch.manual_seed(3)
    path = package / "fdiwn_x2_video.safetensors"
    save_weights(path, Fdiwn(2).state_dict(), {"model": "fdiwn"}, dtype=torch.float16)
    assert run(["weights", "verify"]) == 7
    assert "SHA256SUMS) does not name this file" in capsys.readouterr().err
    with (package / "SHA256SUMS").open("a") as file:
        file.write(f"{sha256(path)}  {path.name}\n")
    assert run(["weights", "verify"]) == 0
    assert run(["weights"]) == 0
    assert "video fdiwn x2" in " ".join(capsys.readouterr().out.split())
    (found,) = [file for file in weights_facts().files if file.set == "video"]
    assert (found.scale, found.path, found.sha256) == (2, str(path), sha256(path))
    forced = plan_of(tiny, capsys, "--weights", "video")
    assert forced["report"]["weights_sha256"] == sha256(path)
    lossless = plan_of(tiny, capsys)
    assert lossless["report"]["weights"] == "clean"
    small = flat_clip(tmp_path / "small.mp4")
    assert plan_upscale(str(small)).model.weights == "video"
    assert plan_upscale(str(small), scale=3).model.weights == "clean"
    arguments = [
        "upscale",
        str(tiny.path),
        "-o",
        str(tmp_path / "o.mp4"),
        "--weights",
        "video",
    ]
    assert run([*arguments, "-s", "3"]) == 7
    assert "There are some at x2. Sets for fdiwn at x3: clean." in capsys.readouterr().err
    frames = torch.rand(1, 3, 8, 8)
    by_name = vsr.Upscaler(2, weights="video", device="cpu")(frames)
    assert torch.equal(by_name, vsr.Upscaler(2, weights=str(path), device="cpu")(frames))


def test_a_preset_names_a_set(
    checkpoint: Path, tiny: Clip, tmp_path: Path, capsys: Captured
) -> None:
    import_weights(str(checkpoint), "mine")
    preset = tmp_path / "p.toml"
    preset.write_text('extends = ["x3"]\n[model]\nweights = "mine"\n')
    found = plan_of(tiny, capsys, "-p", str(preset))
    assert found["model"] == {"name": "fdiwn", "scale": 3, "weights": "mine"}
    assert run(["presets", "show", str(preset)]) == 0
    assert 'weights = "mine"' in capsys.readouterr().out


def test_unknown_sets(tiny: Clip, capsys: Captured) -> None:
    assert run(["plan", str(tiny.path), "--weights", "claen"]) == 7
    assert "Did you mean 'clean'?" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no set of weights called 'claen'"):
        vsr.Upscaler(weights="claen", device="cpu")
    with pytest.raises(ModelError, match="there is no such weights file"):
        vsr.Upscaler(weights=Path("clean"), device="cpu")
    with pytest.raises(ModelError, match="bicubic has no weights"):
        vsr.Upscaler(model="bicubic", weights="clean", device="cpu")
    assert run(["plan", str(tiny.path), "--model", "bicubic", "--weights", "clean"]) == 7


def test_a_file_of_another_scale_is_recognised(
    checkpoint: Path, tiny: Clip, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.mp4"
    arguments = ["upscale", str(tiny.path), "-o", str(out), "--weights", str(checkpoint)]
    assert run(arguments) == 7
    assert "look like fdiwn x3 weights, the request is fdiwn x2" in capsys.readouterr().err
    assert not out.exists()


# float16


def test_half_precision(tmp_path: Path, capsys: Captured) -> None:
    state = Fdiwn(2).state_dict()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(whole, state, {"model": "fdiwn", "training": "none"})
    assert run(["weights", "export", str(whole), str(half)]) == 0
    assert sha256(half) in capsys.readouterr().out
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    again = read_weights(half)
    assert all(torch.equal(again[key], state[key].half().float()) for key in state)
    assert read_metadata(half) == {"model": "fdiwn", "scale": "2", "training": "none"}
    before = half.read_bytes()
    assert run(["weights", "export", str(whole), str(half), "--dtype", "float32"]) == 4
    assert half.read_bytes() == before
    arguments = ["weights", "export", str(whole), str(half), "--dtype", "float32", "--overwrite"]
    assert run(arguments) == 0
    assert torch.equal(read_weights(half)["head.weight"], state["head.weight"])
    assert run(["weights", "export", str(whole), str(tmp_path / "x.pt")]) == 2
    before, _ = whole.read_bytes(), capsys.readouterr()
    assert run(["weights", "export", str(whole), str(whole), "--overwrite"]) == 4
    assert "would replace one of the files it is made from" in capsys.readouterr().err
    assert whole.read_bytes() == before
    assert files(tmp_path) == ["half.safetensors", "whole.safetensors"]


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(ModelError, match="x has values that float16 cannot hold"):
        save_weights(path, {"x": torch.tensor([7e4])}, {}, dtype=torch.float16)
    with pytest.raises(ModelError, match="float32 cannot hold"):
        save_weights(path, {"x": torch.tensor([float("nan")])}, {})
    assert list(tmp_path.iterdir()) == []


def test_shipped_weights_are_float16() -> None:
    from safetensors.torch import load_file

    for path in shipped():
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
