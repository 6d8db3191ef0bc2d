"""Presets and requests about different codecs, models and formats: which wishes still count."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_factory import media, plan_for, video, why
from test_plan_nvenc import plan_on_gpu

from pipelines.queue.names import name_beside
from vsr.errors import UsageError
from vsr.plan import DeviceFacts, Request, make_plan
from vsr.preset import Preset, load_preset, merge

MINE = """
extends = ["x2"]
[encode]
codec = "{codec}"
quality = 30
speed = "ultrafast"
pix_fmt = "yuv420p10le"
gop_seconds = 1
options = {{ aq-mode = 1 }}
"""


def written(folder: Path, codec: str) -> str:
    path = folder / "mine.toml"
    path.write_text(MINE.format(codec=codec), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("alias", "codec"), [("h265", "hevc"), ("x265", "hevc"), ("avc", "h264"), ("x264", "h264")]
)
def test_a_codecs_other_names_keep_a_presets_wishes(tmp_path: Path, alias: str, codec: str) -> None:
    preset = load_preset(written(tmp_path, alias))
    assert preset.codec == codec
    for plan in (
        plan_for(preset=preset),
        plan_for(preset=preset, codec=alias),
        plan_for(preset=preset, codec=codec),
        # Not from a file, and still by its other name.
        plan_for(preset=Preset(**{**_fields(preset), "codec": alias})),
    ):
        options = dict(plan.encode.options)
        assert plan.encode.name == codec
        assert (options["crf"], options["preset"], options["aq-mode"]) == ("30", "ultrafast", "1")
        assert (plan.encode.format.name, plan.encode.gop) == ("yuv420p10le", 25)


def _fields(preset: Preset) -> dict[str, object]:
    return {name: getattr(preset, name) for name in Preset.__dataclass_fields__}


def test_a_batch_that_lagged_mode_cannot_have_is_named() -> None:
    device, reason = DeviceFacts(mode="lagged"), "1: in lagged mode each frame waits for the one"
    for plan in (
        plan_for(device=device, mode="lagged", batch=4),
        plan_for(device=device, preset=Preset(mode="lagged", batch=4)),
    ):
        assert plan.batch == 1
        assert why(plan, "batch") == f"{reason} before"
    for plan in (
        plan_for(device=device, mode="lagged", batch=1),
        plan_for(device=device, mode="lagged"),
        plan_for(batch=4),
    ):
        assert "batch" not in [found.topic for found in plan.reasons]


def test_building_upon_a_codec_by_its_other_name(tmp_path: Path) -> None:
    written(tmp_path, "hevc")
    path = tmp_path / "upper.toml"
    path.write_text('extends = ["./mine.toml"]\n[encode]\ncodec = "x265"\n', encoding="utf-8")
    assert load_preset(str(path)).quality == 30


def nvenc(tmp_path: Path, *, encoders: bool, **wishes: object) -> dict[str, object]:
    from vsr.media.codecs import CODECS
    from vsr.media.containers import CONTAINERS

    plan = make_plan(
        media(video(codec="hevc")),
        Request(source="in.mp4", destination="out.mp4", **wishes),  # type: ignore[arg-type]
        load_preset(written(tmp_path, "nvenc")),
        codecs=CODECS,
        containers=CONTAINERS,
        models={"fdiwn": (2,)},
        usable=lambda name: "no GPU" if CODECS[name].hardware and not encoders else None,
        device=DeviceFacts(),
    )
    said = [f"{r.choice}: {r.why}" for r in plan.reasons if r.topic == "settings"]
    return {
        **dict(plan.encode.options),
        "name": plan.encode.name,
        "format": plan.encode.format.name,
        "said": said,
    }


def test_wishes_for_nvenc_reach_it_and_not_the_encoder_in_its_place(tmp_path: Path) -> None:
    on_gpu = nvenc(tmp_path, encoders=True)
    assert (on_gpu["name"], on_gpu["cq"], on_gpu["preset"]) == ("hevc_nvenc", "30", "ultrafast")
    assert (on_gpu["aq-mode"], on_gpu["format"], on_gpu["said"]) == ("1", "yuv420p10le", [])
    assert nvenc(tmp_path, encoders=True, codec="hevc_nvenc")["cq"] == "30"
    on_cpu = nvenc(tmp_path, encoders=False)
    assert (on_cpu["name"], on_cpu["format"]) == ("hevc", "yuv420p10le")
    assert on_cpu["crf"] == str(load_preset("hevc").quality_at(2))
    assert "aq-mode" not in on_cpu
    assert on_cpu["said"] == [
        "those of hevc: quality, speed and options of preset mine are meant for NVENC"
    ]


def test_results_of_many_files_can_come_from_nvenc(tmp_path: Path) -> None:
    assert name_beside("film.mp4", {"codec": "nvenc"}) == Path("film_x2.mp4")
    assert name_beside("film.avi", {"codec": "nvenc"}) == Path("film_x2.mkv")
    assert name_beside("film.mp4", {"preset": written(tmp_path, "nvenc")}) == Path("film_x2.mp4")
    # As for one file, a container goes with the codec it was meant for.
    assert name_beside("film.mp4", {"preset": "x2-prores"}) == Path("film_x2.mov")
    assert name_beside("film.mp4", {"preset": "x2-prores", "codec": "h264"}) == Path("film_x2.mp4")
    with pytest.raises(UsageError, match="no codec called 'nvemc'"):
        name_beside("film.mp4", {"codec": "nvemc"})


@pytest.mark.parametrize(
    ("fmt", "destination", "wishes", "codec", "said"),
    [
        ("yuv420p", "o.mp4", {"pix_fmt": "yuv420p10le"}, "hevc", "few players take 10 bits in"),
        ("yuv420p", "o.webm", {"pix_fmt": "yuv420p10le"}, "av1", "10 bits are too many for vp9"),
        ("yuv420p", "o.mp4", {"preset": Preset(bit_depth=10)}, "hevc", "10 bits in h264"),
        ("yuv420p", "o.webm", {"preset": Preset(bit_depth=10)}, "av1", "too many for vp9"),
        ("yuv420p10le", "o.mp4", {"pix_fmt": "yuv420p"}, "h264", "the source's own"),
        ("yuv420p10le", "o.mp4", {"preset": Preset(bit_depth=8)}, "h264", "the source's own"),
        ("yuv420p", "o.mp4", {"pix_fmt": "gbrp"}, "hevc", "gbrp does not go into h264"),
    ],
)
def test_wishes_for_pixels_count_when_the_codec_is_chosen(
    fmt: str, destination: str, wishes: dict[str, object], codec: str, said: str
) -> None:
    plan = plan_for(media(video(fmt=fmt)), destination, **wishes)  # type: ignore[arg-type]
    assert plan.encode.name == codec
    assert said in why(plan, "codec")
    assert plan.encode.format.bits == (10 if "10" in str(wishes) else 8)


def test_a_codec_that_is_named_is_not_left_for_a_format() -> None:
    assert plan_for(codec="h264", pix_fmt="yuv420p10le").encode.name == "h264"
    with pytest.raises(UsageError, match="vp9 cannot take pixel format yuv420p10le"):
        plan_for(destination="o.webm", codec="vp9", pix_fmt="yuv420p10le")


def test_nvenc_is_left_for_a_format_it_lacks() -> None:
    plan = plan_on_gpu(video(), codec="nvenc", pix_fmt="yuv420p10le")
    assert (plan.encode.name, plan.encode.format.name) == ("hevc_nvenc", "yuv420p10le")
    plan = plan_on_gpu(video(codec="hevc"), codec="nvenc", pix_fmt="yuv420p12le")
    assert (plan.encode.name, plan.encode.format.name) == ("hevc", "yuv420p12le")
    assert "hevc_nvenc does not take yuv420p12le" in why(plan, "codec")
    assert plan_on_gpu(video(fmt="gray"), codec="nvenc").encode.name == "h264_nvenc"


def test_a_wish_for_bits_holds_for_every_codec() -> None:
    plan = plan_for(preset="x2-hevc10", codec="av1")
    assert (plan.encode.name, plan.encode.format.name) == ("av1", "yuv420p10le")
    with pytest.raises(UsageError, match="vp9 has no format with 10 bits"):
        plan_for(destination="o.webm", preset="x2-hevc10", codec="vp9")


def test_weights_stay_with_the_model_and_scale_they_are_for() -> None:
    film = Preset(name="film", scale=2, weights="video")
    mine = Preset(name="film", model="fdiwn", scale=2, weights="/a/mine.safetensors")
    for base in (film, mine):
        for model in ("fdiwn-m", "bicubic"):
            assert merge(base, Preset(model=model)).weights is None
        assert merge(base, Preset(model="fdiwn")).weights == base.weights
        assert merge(base, Preset(quality=3)).weights == base.weights
        assert merge(base, Preset(model="fdiwn-m", weights="clean")).weights == "clean"
    # A set has more than one scale, a file has not.
    assert merge(film, Preset(scale=3)).weights == "video"
    assert merge(mine, Preset(scale=3)).weights is None
    assert merge(mine, Preset(scale=2)).weights == mine.weights
