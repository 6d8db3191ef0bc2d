"""The cache of weights: where it is, how weights get into it, what becomes of what was there."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from synth import Clip
from weights_helpers import files, plan_of

import vsr
from pipelines.weights import import_weights
from vsr.cli.entry import run
from vsr.errors import OutputError, UsageError
from vsr.models import load_model
from vsr.models.cache import cache_folder, cache_path, install, installed
from vsr.models.download import AUTHORS_FILES
from vsr.models.fdiwn import Fdiwn
from vsr.models.weights import read_metadata, read_weights, save_weights, sha256

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("cache")


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
    checkpoint: Path, cache: Path, tiny: Clip, capsys: Captured
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
    found = plan_of(tiny, capsys, "-s", "3", "--weights", "mine")
    assert found["model"] == {"name": "fdiwn", "scale": 3, "weights": "mine"}
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
