"""Preset files: strict reading, building on each other, shadowing, and the shipped ones."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.errors import PresetError
from vsr.preset import Preset, find_presets, load_preset, merge, preset_folders

SHIPPED = Path(__file__).resolve().parent.parent / "presets"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's preset folder, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("APPDATA", raising=False)
    user, _ = preset_folders()
    user.mkdir(parents=True)
    return user


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_extends_takes_the_last_word_from_the_file_itself(folder: Path) -> None:
    write(folder, "mine", 'extends = ["x4", "hevc"]\n[encode]\nspeed = "slow"\n')
    preset = load_preset("mine")
    assert (preset.name, preset.scale, preset.codec, preset.speed) == ("mine", 4, "hevc", "slow")
    assert preset.quality_at(4) == load_preset("hevc").quality_at(4)


def test_another_codec_leaves_the_first_ones_settings_behind(folder: Path) -> None:
    write(folder, "mine", 'extends = ["x2-hevc"]\n[encode]\ncodec = "av1"\n')
    preset = load_preset("mine")
    assert (preset.codec, preset.scale) == ("av1", 2)
    assert (preset.quality, preset.speed, preset.options) == (None, None, ())


def test_options_join_key_by_key() -> None:
    base = Preset(codec="h264", options=(("a", "1"), ("b", "2")))
    joined = merge(base, Preset(options=(("b", "3"), ("c", "4"))))
    assert joined.options == (("a", "1"), ("b", "3"), ("c", "4"))


def test_a_users_preset_hides_the_shipped_one_and_may_extend_it(folder: Path) -> None:
    path = write(folder, "x2", 'extends = ["x2"]\n[encode]\ncodec = "hevc"\n')
    listed = {preset.name: preset for preset in find_presets()}
    assert listed["x2"].path == path
    assert listed["x2"].origin == "user"
    assert listed["x2"].shadows == SHIPPED / "x2.toml"
    assert listed["x3"].shadows is None
    assert (load_preset("x2").scale, load_preset("x2").codec) == (2, "hevc")


def test_a_path_wins_over_names_and_weights_are_relative_to_it(tmp_path: Path) -> None:
    path = write(tmp_path, "x2", '[model]\nscale = 3\nweights = "w.safetensors"\n')
    preset = load_preset(str(path))
    assert preset.scale == 3
    assert preset.weights == str(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("[encode]\nqualty = 3\n", "", "Did you mean 'encode.quality'?"),
        ("quality = 3\n", "", "Did you mean 'encode.quality'?"),
        ("[encod]\nquality = 3\n", "", "encod"),
        ("[encode]\nquality = 'high'\n", "encode.quality", "whole number from 0 to 255"),
        ("[encode]\nquality = true\n", "encode.quality", "whole number"),
        ("[encode.quality]\nx5 = 3\n", "encode.quality", "x2, x3 and x4"),
        ("[model]\nscale = 5\n", "model.scale", "one of 2, 3, 4"),
        ("[video]\ndeinterlace = 'atuo'\n", "video.deinterlace", "Did you mean 'auto'?"),
        ("[encode]\npix_fmt = 'nv12'\n", "encode.pix_fmt", "planar"),
        ("[encode.options]\nx = []\n", "encode.options", "text or a number"),
        ("[run]\nstrict = 1\n", "run.strict", "true or false"),
        ("model = 3\n", "model", "must be a table"),
        ("extends = 'x2'\n", "extends", "list of preset names"),
        ("extends = ['x22']\n", "", "Did you mean 'x2'?"),
        ("[model\n", "", "not valid TOML"),
    ],
)
def test_mistakes_name_file_and_key(folder: Path, text: str, where: str, said: str) -> None:
    path = write(folder, "wrong", text)
    with pytest.raises(PresetError) as caught:
        load_preset("wrong")
    assert said in str(caught.value)
    if where:
        assert caught.value.where == f"{path}: {where}"


def test_unknown_names_get_a_suggestion(folder: Path) -> None:
    with pytest.raises(PresetError, match="Did you mean 'x2-hevc'"):
        load_preset("x2-hevcc")
    with pytest.raises(PresetError, match=r"Known presets: .*archive"):
        load_preset("zzzzzz")
    with pytest.raises(PresetError, match="no such preset file"):
        load_preset("./nothing.toml")


def test_circles_are_errors(folder: Path) -> None:
    write(folder, "one", 'extends = ["./two.toml"]\n')
    write(folder, "two", 'extends = ["./one.toml"]\n')
    with pytest.raises(PresetError, match="one -> two -> one"):
        load_preset("one")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_presets_load_and_explain_every_value(path: Path) -> None:
    preset = load_preset(str(path))
    assert preset.description
    above = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, is_value, _ = line.partition(" = ")
        # Names speak for themselves, and the table of qualities has one comment for its three.
        if is_value and key not in ("description", "extends", "codec", "x2", "x3", "x4"):
            assert above.startswith("#"), f"{path.name}: {key} has no comment above it"
        if line == "[encode.quality]":
            assert above.startswith("#")
        above = line


def test_the_shipped_set_is_complete() -> None:
    names = {path.stem for path in SHIPPED.glob("*.toml")}
    codecs = {"h264", "hevc", "av1", "vp9", "prores", "ffv1"}
    assert codecs | {"h264_nvenc", "hevc_nvenc", "av1_nvenc", "x2", "x3", "x4"} <= names
    assert {f"x{s}-{c}" for s in (2, 3, 4) for c in ("h264", "hevc", "av1")} <= names
    for name in names:
        below = tomllib.loads((SHIPPED / f"{name}.toml").read_text(encoding="utf-8"))
        assert set(below.get("extends", ())) <= names


_wishes = st.builds(
    Preset,
    codec=st.sampled_from([None, "h264", "hevc"]),
    quality=st.sampled_from([None, 1, ((2, 3), (4, 5))]),
    scale=st.sampled_from([None, 2, 4]),
    strict=st.sampled_from([None, False, True]),
    options=st.sampled_from([(), (("a", "1"),), (("a", "2"), ("b", "3"))]),
)


@settings(deadline=None)
@given(_wishes)
def test_merging_with_nothing_changes_nothing(preset: Preset) -> None:
    assert merge(Preset(), preset) == preset
    assert merge(preset, Preset()) == preset


@settings(deadline=None)
@given(_wishes, _wishes)
def test_the_upper_preset_wins_wherever_it_wishes(base: Preset, over: Preset) -> None:
    joined = merge(base, over)
    for field in ("codec", "quality", "scale", "strict"):
        if getattr(over, field) is not None:
            assert getattr(joined, field) == getattr(over, field)
    assert dict(over.options).items() <= dict(joined.options).items()


@settings(deadline=None)
@given(st.integers(1, 8))
def test_quality_between_listed_scales_is_the_lower_ones(scale: int) -> None:
    preset = Preset(quality=((2, 10), (4, 14)))
    assert preset.quality_at(scale) == (14 if scale >= 4 else 10)
