"""The plan as a whole: precedence of wishes, defaults, timing, strictness, laws."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_factory import (
    CODECS,
    CONTAINERS,
    HDR10,
    chapter,
    media,
    plan_for,
    stream,
    video,
    why,
)

from vsr.errors import InputError, OutputError, PresetError, StrictError, UsageError
from vsr.plan import (
    DeviceFacts,
    Request,
    default_destination,
    describe,
    make_plan,
    plan_to_dict,
    select_video,
)
from vsr.preset import Preset, load_preset
from vsr.types import PIXEL_FORMATS, ChromaSite, ColorRange, Matrix, Plan, Trim


def test_defaults() -> None:
    plan = plan_for()
    assert (plan.width, plan.height, plan.model.name, plan.model.scale) == (1280, 720, "fdiwn", 2)
    assert (plan.encode.name, plan.container, plan.encode.gop) == ("h264", "mp4", 250)
    quality = load_preset("h264").quality_at(2)
    assert dict(plan.encode.options)["crf"] == str(quality)
    assert plan.verify
    assert not plan.strict
    assert plan.given_up == ()


def test_request_beats_preset_beats_codec_preset() -> None:
    preset = Preset(name="mine", codec="hevc", quality=7, speed="slow", options=(("a", "1"),))
    options = dict(plan_for(preset=preset).encode.options)
    assert (options["crf"], options["preset"], options["a"]) == ("7", "slow", "1")
    plan = plan_for(preset=preset, quality=9, speed="fast", options=(("a", "2"),))
    options = dict(plan.encode.options)
    assert (options["crf"], options["preset"], options["a"]) == ("9", "fast", "2")
    assert why(plan, "quality") == "crf 9: asked for"


def test_a_preset_of_another_codec_lends_it_no_settings() -> None:
    plan = plan_for(preset="x4-hevc", codec="av1")
    options = dict(plan.encode.options)
    assert plan.model.scale == 4
    assert options["crf"] == str(load_preset("av1").quality_at(4))
    assert "x265-params" not in options


def test_a_codecs_own_preset_must_be_about_it() -> None:
    with pytest.raises(PresetError, match="about av1"):
        make_plan(
            media(),
            Request(source="in.mp4", destination="out.mp4"),
            Preset(),
            codecs=CODECS,
            containers=CONTAINERS,
            models={"fdiwn": (2,)},
            usable=lambda _: None,
            device=DeviceFacts(),
            codec_preset=lambda _: Preset(codec="av1"),
        )


def test_scale_decides_between_a_presets_qualities() -> None:
    at = {s: dict(plan_for(preset="x2-hevc", scale=s).encode.options)["crf"] for s in (2, 3, 4)}
    assert at == {s: str(load_preset("hevc").quality_at(s)) for s in (2, 3, 4)}
    assert at[2] < at[3] < at[4]


def test_a_presets_weights_belong_to_its_model_and_scale() -> None:
    preset = Preset(model="fdiwn", scale=2, weights="mine.safetensors")
    assert plan_for(preset=preset).model.weights == "mine.safetensors"
    assert plan_for(preset=preset, scale=4).model.weights is None
    assert plan_for(preset=preset, model="bicubic").model.weights is None
    assert plan_for(preset=preset, scale=4, weights="w.pt").model.weights == "w.pt"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"codec": "hvec"}, "Did you mean 'hevc'?"),
        ({"model": "fdwin"}, "Did you mean 'fdiwn'?"),
        ({"model": "bicubic", "scale": 5, "preset": "x2"}, "It scales by 2, 3, 4."),
        ({"scale": 5}, "Scales are 2, 3 and 4."),
        ({"quality": 99}, "0 (best) to 51"),
        ({"quality": 3, "codec": "ffv1", "destination": "o.mkv"}, "lossless"),
        ({"speed": "slow", "codec": "ffv1", "destination": "o.mkv"}, "no choice of speeds"),
        ({"pix_fmt": "yuv410p"}, "It takes: yuv420p"),
        ({"dtype": "float16"}, "It computes in float32"),
        ({"video_stream": 7}, "Video streams: 0"),
    ],
)
def test_senseless_requests(wishes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for(**wishes)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("destination", "wishes", "said"),
    [
        ("out", {}, ".mp4, .m4v, .mov, .mkv, .webm"),
        ("out.avi", {}, "cannot write .avi files"),
        ("in.mp4", {}, "replace its own source"),
        ("out.webm", {"codec": "hevc"}, "Name the result .mp4 or .mov or .mkv"),
        ("out.mp4", {"codec": "prores"}, "--codec h264, hevc, av1"),
    ],
)
def test_results_that_cannot_be_written(
    destination: str, wishes: dict[str, str], said: str
) -> None:
    with pytest.raises(OutputError) as caught:
        plan_for(destination=destination, **wishes)
    assert said in str(caught.value)


def test_an_encoder_that_does_not_run_is_an_error_never_replaced() -> None:
    with pytest.raises(OutputError, match="no driver"):
        plan_for(codec="hevc_nvenc", problem="no driver")


def test_a_source_without_moving_pictures() -> None:
    with pytest.raises(InputError, match="no video"):
        plan_for(media(stream(0, "audio", "aac")))


def test_the_default_video_stream_or_the_one_asked_for() -> None:
    info = media(video(0), video(1, dispositions=("default",)), video(2))
    assert select_video(info).index == 1
    assert select_video(info, 2).index == 2
    assert select_video(media(video(0), video(1))).index == 0
    plan = plan_for(info)
    assert [(a.stream.index, a.action) for a in plan.streams] == [(0, "drop"), (2, "drop")]
    assert len(plan.given_up) == 2
    assert "--video-stream 2" in plan.given_up[1]


@pytest.mark.parametrize(
    ("source", "wishes", "result"),
    [
        ("a/film.mp4", {}, "a/film_x2.mp4"),
        ("film.M4V", {}, "film_x2.m4v"),
        ("film.avi", {}, "film_x2.mkv"),
        ("film", {}, "film_x2.mkv"),
        ("film.webm", {"codec": CODECS["hevc"]}, "film_x2.mkv"),
        ("film.avi", {"container": "mov"}, "film_x2.mov"),
    ],
)
def test_default_destination(source: str, wishes: dict[str, object], result: str) -> None:
    assert default_destination(source, 2, containers=CONTAINERS, **wishes) == result  # type: ignore[arg-type]


def test_presets_settle_the_container_when_nobody_names_a_result() -> None:
    assert plan_for(destination=None, preset="x2-prores").destination == "in_x2.mov"
    assert plan_for(destination=None).destination == "in_x2.mp4"


@pytest.mark.parametrize(
    ("start", "trim", "shift"),
    [
        (0, Trim(), Fraction(0)),
        (None, Trim(), Fraction(0)),
        (9000, Trim(), Fraction(0)),
        (-9000, Trim(), Fraction(1, 10)),
        (9000, Trim(frames=8), Fraction(0)),
        (9000, Trim(start=9000, end=18000), Fraction(0)),
        (9000, Trim(start=45000), Fraction(-1, 2)),
        (-9000, Trim(start=-4500), Fraction(1, 20)),
        (-9000, Trim(start=45000), Fraction(-1, 2)),
    ],
)
def test_time_shift(start: int | None, trim: Trim, shift: Fraction) -> None:
    assert plan_for(media(video(start=start)), trim=trim).time_shift == shift


@pytest.mark.parametrize(
    ("interlaced", "mode", "done"),
    [(True, None, True), (True, "off", False), (False, None, False), (False, "on", True)],
)
def test_deinterlace(interlaced: bool, mode: str | None, done: bool) -> None:
    plan = plan_for(media(video(interlaced=interlaced)), deinterlace=mode)
    assert plan.deinterlace is done
    if interlaced or mode:
        assert why(plan, "deinterlace")


@pytest.mark.parametrize(
    ("rate", "gop"),
    [
        (24, 240),
        (60, 250),
        (Fraction(30000, 1001), 250),
        (1, 10),
        (Fraction(1, 100), 1),
        (None, 250),
    ],
)
def test_key_frames_every_ten_seconds_or_250_frames(rate: Fraction | None, gop: int) -> None:
    info = media(video(average_rate=rate and Fraction(rate)))
    assert plan_for(info).encode.gop == gop


def test_every_frame_of_ffv1_is_a_key_frame() -> None:
    assert plan_for(destination="out.mkv", codec="ffv1").encode.gop == 1


def test_hevc_gets_apples_tag_in_quicktime_files_only() -> None:
    for ending, tag in (("mp4", "hvc1"), ("mov", "hvc1"), ("mkv", None)):
        assert plan_for(destination=f"o.{ending}", codec="hevc").encode.codec_tag == tag
    assert plan_for(codec="h264").encode.codec_tag is None


def test_strict_lists_everything() -> None:
    info = media(video(dolby_vision=True), stream(1, "attachment", "ttf"))
    with pytest.raises(StrictError) as caught:
        plan_for(info, strict=True)
    assert "Dolby Vision" in str(caught.value)
    assert "stream 1" in str(caught.value)
    assert plan_for(strict=True).strict


def test_strictness_of_a_preset_can_be_overruled() -> None:
    info = media(video(dynamic_hdr=True))
    strict = Preset(strict=True)
    with pytest.raises(StrictError):
        plan_for(info, preset=strict)
    assert plan_for(info, preset=strict, strict=False).given_up


def test_description_says_what_matters() -> None:
    info = media(
        video(
            sar=Fraction(64, 45), interlaced=True, height=576, width=720, display_matrix=(0,) * 9
        ),
        stream(1, "audio", "opus", metadata=(("language", "deu"),), channels=2, sample_rate=48000),
        stream(2, "attachment", "ttf", metadata=(("filename", "font.ttf"),)),
        chapters=(chapter(),),
        warnings=("the index is damaged",),
    )
    text = describe(plan_for(info, trim=Trim(start=90000, frames=3)))
    for said in (
        *("720x576 -> 1440x1152", "64:45", "shown 2048x1152", "rotated", "bwdif", "BT.601 limited"),
        *("opus deu 2 ch 48000 Hz", "convert -> aac", "font.ttf", "drop", "given up", "crf="),
        *("the index is damaged", "from 1.000 s", "at most 3", "-1.000000 s", "clipped"),
    ):
        assert said in text, said
    assert max(map(len, text.splitlines())) <= 100


def test_plans_pickle_and_become_json() -> None:
    plan = plan_for(media(video(hdr=HDR10), chapters=(chapter(),)), codec="hevc")
    assert pickle.loads(pickle.dumps(plan)) == plan
    table = json.loads(json.dumps(plan_to_dict(plan)))
    assert table["sar"] == "1/1"
    assert table["color"]["matrix"] == "smpte170m"
    assert table["encode"]["hdr"]["min_luminance"] == "1/10000"
    assert table["video"]["format"]["name"] == "yuv420p"


def test_the_devices_facts_arrive_unless_overruled() -> None:
    facts = DeviceFacts(
        reader="nvdec",
        backend="cuda",
        device="cuda:0",
        dtypes=("float16", "float32"),
        batch=4,
        why="found",
    )
    plan = plan_for(device=facts)
    assert (plan.reader, plan.backend, plan.device) == ("nvdec", "cuda", "cuda:0")
    assert (plan.dtype, plan.batch, why(plan, "device")) == ("float16", 4, "cuda:0: found")
    plan = plan_for(device=facts, dtype="float32", batch=2)
    assert (plan.dtype, plan.batch) == ("float32", 2)


@pytest.mark.parametrize(
    ("size", "frames"),
    [((1920, 1080), 1), ((960, 540), 1), ((640, 360), 2), ((480, 270), 4), ((64, 48), 8)],
)
def test_small_frames_go_together_where_they_leave_a_device_idle(
    size: tuple[int, int], frames: int
) -> None:
    facts = DeviceFacts(backend="cuda", device="cuda:0", batch_pixels=960 * 540)
    assert facts.frames_a_call(*size) == frames
    assert DeviceFacts().frames_a_call(*size) == 1


_streams = st.lists(
    st.one_of(
        st.sampled_from(["aac", "opus", "pcm_s16le", "unknown"]).map(lambda c: ("audio", c)),
        st.sampled_from(["subrip", "ass", "mov_text", "hdmv_pgs_subtitle"]).map(
            lambda c: ("subtitle", c)
        ),
        st.sampled_from(["ttf", "unknown"]).map(lambda c: ("attachment", c)),
        st.sampled_from(["klv", "unknown", "bin_data"]).map(lambda c: ("data", c)),
        st.sampled_from(["mjpeg", "png", "webp"]).map(lambda c: ("cover", c)),
        st.just(("video", "h264")),
    ),
    max_size=6,
)


@st.composite
def _plans(draw: st.DrawFn) -> Plan | None:
    """Any source into any container; ``None`` where that is rightly refused."""
    main = video(
        0,
        draw(st.sampled_from(sorted(PIXEL_FORMATS))),
        width=draw(st.integers(1, 1500)),
        height=draw(st.integers(1, 1500)),
        hdr=draw(st.sampled_from([None, HDR10])),
        dolby_vision=draw(st.booleans()),
        interlaced=draw(st.booleans()),
        start=draw(st.integers(-9000, 9000)),
        dispositions=("default",),
    )
    others = []
    for index, (kind, codec) in enumerate(draw(_streams), 1):
        if kind == "video":
            others.append(video(index))
        elif kind == "cover":
            others.append(video(index, codec=codec, dispositions=("attached_pic",)))
        else:
            others.append(stream(index, kind, codec))
    chapters = (chapter(),) if draw(st.booleans()) else ()
    info = media(main, *others, chapters=chapters)
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    fitting = [name for name, spec in CODECS.items() if container in spec.containers]
    wishes = {
        "scale": draw(st.sampled_from([2, 3, 4])),
        "codec": draw(st.sampled_from([None, *fitting])),
    }
    destination = f"out.{container}"
    try:
        plan = plan_for(info, destination, **wishes)
    except OutputError:
        return None
    if plan.given_up:
        with pytest.raises(StrictError) as caught:
            plan_for(info, destination, strict=True, **wishes)
        assert all(sentence in str(caught.value) for sentence in plan.given_up)
    else:
        plan_for(info, destination, strict=True, **wishes)
    return plan


@settings(deadline=None)
@given(_plans())
def test_laws_of_every_plan(plan: Plan | None) -> None:
    if plan is None:
        return
    # Every stream has exactly one fate, and none is dropped without a reason.
    fates = [action.stream.index for action in plan.streams]
    assert fates == [s.index for s in plan.info.streams if s.index != plan.video.index]
    for action in plan.streams:
        assert action.why or action.action in ("copy", "attach")
        assert bool(action.codec) == (action.action != "drop")
    # Nothing about samples is left open, and the encoder takes the format.
    for color in (plan.color, plan.encode.tags):
        assert color.matrix is not Matrix.UNSPECIFIED
        assert color.range is not ColorRange.UNSPECIFIED
        assert color.site is not ChromaSite.UNSPECIFIED
    assert plan.encode.format.name in CODECS[plan.encode.name].pixel_formats
    assert (plan.encode.tags.matrix is Matrix.RGB) == (plan.encode.format.family == "rgb")
    assert plan.container in CODECS[plan.encode.name].containers
    assert (plan.encode.hdr is None) == (plan.encode.hdr_param is None)
    assert plan.encode.gop >= 1
    # What the source has and the result lacks is said.
    source, written = plan.video.format, plan.encode.format
    given_up = "\n".join(plan.given_up)
    assert ("alpha channel" in given_up) == (source.alpha and not written.alpha)
    assert ("bit depth" in given_up) == (written.bits < source.bits)
    assert ("HDR10 metadata" in given_up) == (
        plan.video.hdr is not None and plan.encode.hdr is None
    )
    assert ("chapters:" in given_up) == (bool(plan.info.chapters) and not plan.chapters)
    assert (plan.video.start or 0) * plan.video.time_base + plan.time_shift >= 0
    assert describe(plan)
    json.dumps(plan_to_dict(plan))
    assert pickle.loads(pickle.dumps(plan)) == plan
