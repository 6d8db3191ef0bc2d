"""Which set of weights a plan takes: what was asked for, else what suits the source's bit rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_factory import CODECS, CONTAINERS, MODELS, media, stream, video, why

from vsr.errors import ModelError
from vsr.media.probe import probe
from vsr.plan import DeviceFacts, Request, WeightsFacts, describe, make_plan, plan_to_dict
from vsr.plan.weights import LOW_RATE
from vsr.preset import Preset, load_preset
from vsr.types import MediaInfo, Plan, WeightsFile, is_set_name

Origin = Any


def file(
    name: str, model: str = "fdiwn", scale: int = 2, origin: Origin = "shipped"
) -> WeightsFile:
    return WeightsFile(name, model, scale, f"{model}_x{scale}_{name}", "", origin)


CLEAN = tuple(file("clean", scale=scale) for scale in (2, 3, 4))
BOTH = (*CLEAN, file("video"), file("mine", scale=3, origin="installed"))


def planned(
    info: MediaInfo | None = None,
    files: tuple[WeightsFile, ...] = BOTH,
    preset: Preset | None = None,
    **wishes: Any,
) -> Plan:
    info = info or media()
    return make_plan(
        info,
        Request(source=info.path, destination="out.mkv", **wishes),
        preset or Preset(),
        codecs=CODECS,
        containers=CONTAINERS,
        models=MODELS,
        weights=WeightsFacts(files=files, models=frozenset({"fdiwn", "fdiwn-m"})),
        usable=lambda _: None,
        device=DeviceFacts(),
    )


def coded(codec: str, bits: float) -> MediaInfo:
    """A source of 640x360 at 25 frames/s with so many bits per pixel."""
    return media(video(codec=codec, bit_rate=round(bits * 640 * 360 * 25)))


@pytest.mark.parametrize("codec", LOW_RATE)
def test_a_low_bit_rate_takes_the_video_set(codec: str) -> None:
    bound = LOW_RATE[codec]
    low, high = planned(coded(codec, 0.9 * bound)), planned(coded(codec, 1.1 * bound))
    assert (low.model.weights, high.model.weights) == ("video", "clean")
    assert why(low, "weights").endswith(f"bits per pixel, below {bound:.2f}")
    assert why(high, "weights").endswith(f"bits per pixel, not below {bound:.2f}")


@pytest.mark.parametrize("codec", ["ffv1", "prores", "rawvideo", "mjpeg", "dvvideo", "huffyuv"])
def test_lossless_and_intra_codecs_are_clean_at_any_rate(codec: str) -> None:
    plan = planned(coded(codec, 0.01))
    assert plan.model.weights == "clean"
    assert codec in why(plan, "weights")


def test_without_a_rate_the_source_counts_as_clean() -> None:
    plan = planned(media(video(bit_rate=None)))
    assert plan.model.weights == "clean"
    assert "does not say how many bits" in why(plan, "weights")


def test_a_file_tells_what_its_stream_does_not() -> None:
    """As in Matroska: the file's size less its sound."""
    pixels = 640 * 360 * 25
    sound = stream(1, "audio", "aac", bit_rate=pixels)

    def of(bits: float) -> MediaInfo:
        size = round((bits + 1) * pixels * 10 / 8)
        return media(video(bit_rate=None), sound, size=size, duration=Fraction(10))

    assert planned(of(0.18)).model.weights == "video"
    assert planned(of(0.22)).model.weights == "clean"
    assert "0.180 bits per pixel" in why(planned(of(0.18)), "weights")


def test_the_choice_is_among_what_ships() -> None:
    low = coded("h264", 0.05)
    plan = planned(low, files=CLEAN)
    assert plan.model.weights == "clean"
    assert why(plan, "weights").endswith("below 0.20; no video weights ship for fdiwn at x2")
    assert planned(low, scale=3).model.weights == "clean"
    # What somebody installed is used when it is asked for, never by itself.
    own = file("video", scale=3, origin="installed")
    assert planned(low, files=(*CLEAN, own), scale=3).model.weights == "clean"
    only = planned(coded("h264", 1), files=(file("video"),))
    assert only.model.weights == "video"
    assert "no clean weights ship" in why(only, "weights")


def test_the_choice_can_be_forced() -> None:
    low, high = coded("h264", 0.05), coded("h264", 1)
    assert planned(low, weights="clean").model.weights == "clean"
    assert planned(high, weights="video").model.weights == "video"
    assert why(planned(high, weights="video"), "weights") == "video: asked for"
    preset = Preset(weights="video")
    assert planned(high, preset=preset).model.weights == "video"
    assert why(planned(high, preset=preset), "weights") == "video: the preset's"
    assert planned(high, preset=preset, weights="auto").model.weights == "clean"
    assert planned(low, preset=preset, weights="clean").model.weights == "clean"
    assert planned(high, weights="dir/w.pt").model.weights == "dir/w.pt"


def test_a_presets_set_is_of_its_model() -> None:
    preset = Preset(model="fdiwn", scale=2, weights="mine")
    assert planned(preset=preset, scale=3).model.weights == "mine"
    assert planned(preset=preset, model="bicubic").model.weights is None
    with pytest.raises(ModelError, match="no mine weights for fdiwn at x2") as error:
        planned(preset=preset)
    assert "There are some at x3. Sets for fdiwn at x2: clean, video." in error.value.remedy


def test_models_without_weights_get_none() -> None:
    plan = planned(coded("h264", 0.05), model="bicubic")
    assert plan.model.weights is None
    assert not any(reason.topic == "weights" for reason in plan.reasons)


@pytest.mark.parametrize(
    ("wishes", "message", "remedy"),
    [
        ({"weights": "vidoe"}, "no set of weights called 'vidoe'", "Did you mean 'video'?"),
        ({"weights": "xyzzy"}, "called 'xyzzy'", "Sets for fdiwn at x2: clean, video."),
        ({"weights": "video", "scale": 4}, "no video weights for fdiwn at x4", "some at x2."),
        ({"weights": "video", "scale": 4}, "no video weights", "Sets for fdiwn at x4: clean."),
        ({"weights": "authors"}, "at x2 are not installed", "`vsr weights fetch authors`"),
        ({"weights": "authors", "model": "fdiwn-m"}, "no authors weights", "at any scale"),
        ({"model": "fdiwn-m"}, "no clean weights for fdiwn-m at x2", "--weights FILE"),
    ],
)
def test_what_cannot_be_had_says_what_can(
    wishes: dict[str, Any], message: str, remedy: str
) -> None:
    for info in (coded("h264", 0.05), coded("h264", 1)):
        with pytest.raises(ModelError, match=message) as error:
            planned(info, **wishes)
        assert remedy in error.value.remedy


def test_a_file_without_ending_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mychk").touch()
    with pytest.raises(ModelError, match="no set") as error:
        planned(weights="mychk")
    assert "written './mychk'" in error.value.remedy


def test_the_choice_is_in_what_people_and_programs_read() -> None:
    plan = planned(coded("h264", 0.05))
    assert "fdiwn 2x, weights video" in describe(plan)
    assert "h264 at 0.050 bits per pixel, below 0.20" in " ".join(describe(plan).split())
    plain = plan_to_dict(plan)
    assert plain["model"] == {"name": "fdiwn", "scale": 2, "weights": "video"}
    assert [r["choice"] for r in plain["reasons"] if r["topic"] == "weights"] == ["video"]


@pytest.mark.parametrize("name", ["clean", "video", "a", "my-set_2", "2x"])
def test_names(name: str) -> None:
    assert is_set_name(name)


@pytest.mark.parametrize(
    "path", ["", "w.pt", "./w", "a/w", "a\\w", "~/w", "..", "-x", "w.safetensors", "a b", "x" * 65]
)
def test_paths(path: str) -> None:
    assert not is_set_name(path)


def test_a_preset_names_a_set_or_a_file(tmp_path: Path) -> None:
    def weights(text: str) -> str | None:
        path = tmp_path / "p.toml"
        path.write_text(f'[model]\nweights = "{text}"\n')
        return load_preset(str(path)).weights

    assert weights("video") == "video"
    assert weights("w.safetensors") == str(tmp_path / "w.safetensors")
    assert weights("./video") == str(tmp_path / "video")


def _subsets() -> Iterator[tuple[WeightsFile, ...]]:
    yield from ((), CLEAN, BOTH, (file("video", scale=4),), (file("a", "fdiwn-m", 2, "installed"),))


@given(
    st.sampled_from(list(_subsets())),
    st.sampled_from(["clean", "video", "authors", "a", "mine", "auto", None]),
    st.sampled_from([2, 3, 4]),
    st.sampled_from(["fdiwn", "fdiwn-m"]),
    st.sampled_from(["h264", "ffv1"]),
    st.floats(0.01, 2),
)
def test_a_planned_set_exists(
    files: tuple[WeightsFile, ...],
    weights: str | None,
    scale: int,
    model: str,
    codec: str,
    bits: float,
) -> None:
    wishes = {"weights": weights, "scale": scale, "model": model}
    there = {(f.set, f.origin) for f in files if (f.model, f.scale) == (model, scale)}
    if weights in (None, "auto"):
        possible = {name for name, origin in there if origin == "shipped"}
    else:
        possible = {name for name, _ in there if name == weights}
    if possible:
        assert planned(coded(codec, bits), files, **wishes).model.weights in possible
    else:
        with pytest.raises(ModelError) as error:
            planned(coded(codec, bits), files, **wishes)
        assert error.value.remedy


def test_real_sources(reference: Path) -> None:
    """What streams sends is compressed; what a phone records or a codec keeps whole is not."""
    expected = {
        "clips/bbb_480p24_30s_aac51.mp4": "video",
        "clips/tears_of_steel_800x332_70s.webm": "video",
        "clips/flower_540p30.webm": "video",
        "clips/carphone_qcif_pristine.mp4": "clean",
        "clips/parkjoy_480x270_10f.y4m": "clean",
        "nasty/d02_srt_subs.mkv": "video",
        "nasty/d06_hevc_rot90_metadata.mp4": "clean",
        "nasty/d07_av1_aac.mp4": "video",
        "nasty/g01_dv_pal_pcm.avi": "clean",
        "nasty/g07_mjpeg_fullrange_pcm.mov": "clean",
        "nasty/g08_hdv_1440x1080i_sar43.m2t": "video",
    }
    found = {name: planned(probe(str(reference / name))).model.weights for name in expected}
    assert found == expected
