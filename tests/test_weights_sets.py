"""Sets of weights by name: what ships, what is in the cache, and damage found before use."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from synth import Clip, make_clip

import vsr
from pipelines.upscale import plan_upscale
from pipelines.weights import import_weights, verify_weights, weights_facts
from vsr.cli.entry import run
from vsr.errors import ModelError, OutputError, UsageError
from vsr.models import load_model
from vsr.models.cache import cache_folder, cache_path, install, installed
from vsr.models.download import AUTHORS_FILES
from vsr.models.fdiwn import Fdiwn
from vsr.models.sets import all_weights, manifest
from vsr.models.weights import FOLDER, read_metadata, read_weights, save_weights, sha256, shipped

Captured = pytest.CaptureFixture[str]
QUICK = ["--frames", "1", "--no-verify", "-x", "preset=ultrafast"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", width=24, height=16, frames=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained FDIWN x3 weights as PyTorch writes them."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("checkpoint") / "run7.pt"
    torch.save(Fdiwn(3).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vsr" / "weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what ships, to be changed."""
    folder = tmp_path / "package"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr("vsr.models.weights.FOLDER", folder)
    monkeypatch.setattr("vsr.models.sets.FOLDER", folder)
    monkeypatch.setattr("vsr.models.sets.MANIFEST", folder / "SHA256SUMS")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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


def plan_of(clip: Clip, capsys: Captured, *arguments: str) -> dict[str, object]:
    """What ``vsr upscale --json`` says it does, without doing much."""
    out = clip.path.with_name("out.mp4")
    assert run(["upscale", str(clip.path), "-o", str(out), "-y", "--json", *QUICK, *arguments]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {"model": events[0]["plan"]["model"], "report": events[-1]["report"]}


# Where the cache is


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("/somewhere/of")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/vsr/weights")
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == home / ".cache" / "vsr" / "weights"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == home / "Library" / "Caches" / "vsr" / "weights"


def test_the_cache_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA", "/profile/local")
    with monkeypatch.context() as patch:
        patch.setattr("vsr.models.cache.WINDOWS", True)
        assert cache_folder() == Path("/profile/local/vsr/weights")


def test_without_a_home_nothing_is_installed_and_nothing_can_be(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert installed() == []
    with pytest.raises(OutputError, match="no home folder") as error:
        import_weights(str(checkpoint), "mine")
    assert "XDG_CACHE_HOME" in error.value.remedy
    assert not (tmp_path / "~").exists()


# Importing


def test_an_import_is_found_by_its_name(
    checkpoint: Path, cache: Path, clip: Clip, capsys: Captured
) -> None:
    assert run(["weights", "import", str(checkpoint), "--name", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    path = Path(told["path"])
    assert path.parent == cache / "mine"
    assert (told["set"], told["model"], told["scale"]) == ("mine", "fdiwn", 3)
    assert told["sha256"] == sha256(path)
    theirs = torch.load(checkpoint, weights_only=True)
    ours = read_weights(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    metadata = read_metadata(path)
    assert (metadata["source"], metadata["source_sha256"]) == ("run7.pt", sha256(checkpoint))
    found = plan_of(clip, capsys, "-s", "3", "--weights", "mine")
    assert found["model"] == {"name": "fdiwn", "scale": 3, "weights": "mine"}
    assert isinstance(found["report"], dict)
    assert found["report"]["weights"] == "mine"
    assert found["report"]["weights_sha256"] == told["sha256"]
    frames = torch.rand(1, 3, 8, 8) * 255
    given = vsr.Upscaler(3, weights=checkpoint, device="cpu")
    named = vsr.Upscaler(3, weights="mine", device="cpu")
    assert torch.equal(named(frames), given(frames))
    assert given.weights_sha256 == sha256(checkpoint)


def test_the_authors_checkpoint_becomes_ours(reference: Path) -> None:
    source = reference / "weights" / "fdiwn_x4_authors.pt"
    done = import_weights(str(source), "theirs")
    assert (done.model, done.scale) == ("fdiwn", 4)
    assert read_weights(Path(done.path)).keys() == Fdiwn(4).state_dict().keys()
    frames = torch.rand(1, 3, 8, 8) * 255
    ours, theirs = load_model("fdiwn", 4, "theirs"), load_model("fdiwn", 4, source)
    assert torch.equal(ours(frames), theirs(frames))


def test_published_files_can_be_brought_by_hand(reference: Path) -> None:
    for checkpoint in AUTHORS_FILES:
        source = reference / "weights" / f"fdiwn_x{checkpoint.scale}_authors.pt"
        assert source.stat().st_size == checkpoint.bytes
        done = import_weights(str(source), "authors")
        assert done.sha256 == sha256(Path(done.path)) == checkpoint.sha256
        assert Path(done.path).read_bytes() == source.read_bytes()
        assert load_model("fdiwn", checkpoint.scale, "authors").weights_sha256 == done.sha256


def test_an_import_replaces_only_when_told(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    first = import_weights(str(checkpoint), "mine")
    other = tmp_path / "other.safetensors"
    torch.manual_seed(2)
    save_weights(other, Fdiwn(3).state_dict(), {})
    with pytest.raises(OutputError, match="already has weights for fdiwn at x3"):
        import_weights(str(other), "mine")
    assert installed() == [first]
    second = import_weights(str(other), "mine", overwrite=True)
    assert installed() == [second]
    assert files(cache) == [f"mine/{Path(second.path).name}"]
    save_weights(other, Fdiwn(2).state_dict(), {})
    import_weights(str(other), "mine")
    assert [(file.set, file.scale) for file in installed()] == [("mine", 2), ("mine", 3)]


def test_the_newer_of_two_counts(checkpoint: Path, cache: Path) -> None:
    """Somebody was stopped after a new file got its name and before the old one was removed."""
    old = Path(import_weights(str(checkpoint), "mine").path)
    new = cache_path("mine", "fdiwn", 3, "0" * 64, ".safetensors")
    shutil.copy(old, new)
    for path, seconds in ((old, 100), (new, 200)):
        os.utime(path, (seconds, seconds))
    assert [file.path for file in installed()] == [str(new)]
    os.utime(old, (300, 300))
    assert [file.path for file in installed()] == [str(old)]
    part = cache / "mine" / ".x.part"
    shutil.copy(old, part)
    install(part, old)
    assert files(cache) == [f"mine/{old.name}"]


def test_other_files_in_the_cache_are_left_alone(checkpoint: Path, cache: Path) -> None:
    import_weights(str(checkpoint), "mine")
    (cache / "mine" / "notes.txt").write_text("hello")
    (cache / "README").write_text("hello")
    (cache / "a b").mkdir()
    shutil.copy(checkpoint, cache / "a b" / f"fdiwn_x3-{'0' * 64}.pt")
    assert len(installed()) == 1
    import_weights(str(checkpoint), "mine", overwrite=True)
    assert (cache / "mine" / "notes.txt").read_text() == "hello"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clean", "the name 'clean' is taken"),
        ("video", "the name 'video' is taken"),
        ("auto", "the name 'auto' is taken"),
        ("authors", "not one of the files that the authors published"),
        ("../up", "cannot be the name of a set"),
        ("a.pt", "cannot be the name of a set"),
        ("", "cannot be the name of a set"),
    ],
)
def test_names_that_cannot_be(name: str, message: str, checkpoint: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=message) as error:
        import_weights(str(checkpoint), name)
    assert error.value.remedy
    assert not cache.exists()


def test_what_is_no_weights_is_not_imported(tmp_path: Path, cache: Path, capsys: Captured) -> None:
    torch.save({"x": torch.zeros(3)}, tmp_path / "x.pt")
    assert run(["weights", "import", str(tmp_path / "x.pt"), "--name", "x"]) == 7
    assert "no weights of a model this version knows" in capsys.readouterr().err
    (tmp_path / "y.pt").write_bytes(b"PK")
    assert run(["weights", "import", str(tmp_path / "y.pt"), "--name", "x"]) == 7
    assert run(["weights", "import", str(tmp_path / "none.pt"), "--name", "x"]) == 7
    assert "there is no such weights file" in capsys.readouterr().err
    assert not cache.exists()


def test_a_cache_that_cannot_be_made(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    assert run(["weights", "import", str(checkpoint), "--name", "mine"]) == 4
    err = capsys.readouterr().err
    assert "cannot make the folder" in err
    assert "XDG_CACHE_HOME" in err


# Damage


def test_a_damaged_import_is_named_and_not_used(
    checkpoint: Path, clip: Clip, tmp_path: Path, capsys: Captured
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
    assert run(["upscale", str(clip.path), "-o", str(out), "-s", "3", "--weights", "mine"]) == 7
    err = capsys.readouterr().err
    assert f"{path}: the mine weights" in err
    assert "import it again" in err
    assert not out.exists()
    # Nobody else is held up.
    assert run(["upscale", str(clip.path), "-o", str(out), "--quiet", *QUICK]) == 0
    assert run(["weights", "verify"]) == 7
    out_, err = capsys.readouterr()
    assert str(path) in err
    assert out_.count(" ok") == len(manifest())
    assert run(["doctor", "--json"]) in (0, 8)
    state = {f["name"]: f["state"] for f in json.loads(capsys.readouterr().out)}
    assert (state["clean"], state["mine"]) == ("ok", "absent")


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_damaged_shipped_weights_are_essential(
    how: str, package: Path, clip: Clip, tmp_path: Path, capsys: Captured
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
    assert run(["upscale", str(clip.path), "-o", str(out)]) == 7
    assert "Install the package again." in capsys.readouterr().err
    assert run(["upscale", str(clip.path), "-o", str(out), "-s", "3", "--quiet", *QUICK]) == 0


@pytest.mark.parametrize("content", [None, "not hashes\n", "\xff"])
def test_without_its_list_the_package_is_not_whole(
    content: str | None, package: Path, clip: Clip, capsys: Captured
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
    assert run(["upscale", str(clip.path)]) == 7


# What ships


def test_every_shipped_file_is_in_the_list_and_whole() -> None:
    assert list(manifest()) == [path.name for path in shipped()]
    assert [(c.file.path, c.problem) for c in verify_weights() if c.problem] == []
    assert {(f.set, f.model, f.scale) for f in all_weights()} >= {
        ("clean", "fdiwn", scale) for scale in (2, 3, 4)
    }


def test_a_set_that_appears_is_chosen_and_can_be_named(
    package: Path, clip: Clip, tmp_path: Path, capsys: Captured
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
    assert "  video  fdiwn  x2" in capsys.readouterr().out
    (found,) = [file for file in weights_facts().files if file.set == "video"]
    assert (found.scale, found.path, found.sha256) == (2, str(path), sha256(path))
    forced = plan_of(clip, capsys, "--weights", "video")
    assert isinstance(forced["report"], dict)
    assert forced["report"]["weights_sha256"] == sha256(path)
    lossless = plan_of(clip, capsys)
    assert isinstance(lossless["report"], dict)
    assert lossless["report"]["weights"] == "clean"
    small = flat_clip(tmp_path / "small.mp4")
    assert plan_upscale(str(small)).model.weights == "video"
    assert plan_upscale(str(small), scale=3).model.weights == "clean"
    arguments = ["upscale", str(clip.path), "-o", str(tmp_path / "o.mp4"), "--weights", "video"]
    assert run([*arguments, "-s", "3"]) == 7
    assert "There are some at x2. Sets for fdiwn at x3: clean." in capsys.readouterr().err
    frames = torch.rand(1, 3, 8, 8)
    by_name = vsr.Upscaler(2, weights="video", device="cpu")(frames)
    assert torch.equal(by_name, vsr.Upscaler(2, weights=str(path), device="cpu")(frames))


def test_a_preset_names_a_set(
    checkpoint: Path, clip: Clip, tmp_path: Path, capsys: Captured
) -> None:
    import_weights(str(checkpoint), "mine")
    preset = tmp_path / "p.toml"
    preset.write_text('extends = ["x3"]\n[model]\nweights = "mine"\n')
    found = plan_of(clip, capsys, "-p", str(preset))
    assert found["model"] == {"name": "fdiwn", "scale": 3, "weights": "mine"}
    assert run(["presets", "show", str(preset)]) == 0
    assert 'weights = "mine"' in capsys.readouterr().out


def test_unknown_sets(clip: Clip, capsys: Captured) -> None:
    assert run(["plan", str(clip.path), "--weights", "claen"]) == 7
    assert "Did you mean 'clean'?" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no set of weights called 'claen'"):
        vsr.Upscaler(weights="claen", device="cpu")
    with pytest.raises(ModelError, match="there is no such weights file"):
        vsr.Upscaler(weights=Path("clean"), device="cpu")
    with pytest.raises(ModelError, match="bicubic has no weights"):
        vsr.Upscaler(model="bicubic", weights="clean", device="cpu")
    assert run(["plan", str(clip.path), "--model", "bicubic", "--weights", "clean"]) == 7


def test_a_file_of_another_scale_is_recognised(
    checkpoint: Path, clip: Clip, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.mp4"
    arguments = ["upscale", str(clip.path), "-o", str(out), "--weights", str(checkpoint)]
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
