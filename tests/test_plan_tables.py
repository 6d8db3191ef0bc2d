"""The planner over the real tables of codecs and containers, and over real files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import MODELS, media, video

from vsr.errors import InputError
from vsr.media.codecs import CODECS, encoder_problem
from vsr.media.color.matrix import MATRICES
from vsr.media.containers import CONTAINERS
from vsr.media.probe import probe
from vsr.media.write.encoder import VideoEncoder
from vsr.plan import MATRIX_NAMES, DeviceFacts, Request, describe, make_plan
from vsr.plan.color import _READABLE
from vsr.preset import find_presets, load_preset
from vsr.types import MediaInfo, Plan


def plan(info: MediaInfo, destination: str | None, preset: str, **wishes: object) -> Plan:
    return make_plan(
        info,
        Request(source=info.path, destination=destination, **wishes),  # type: ignore[arg-type]
        load_preset(preset),
        codecs=CODECS,
        containers=CONTAINERS,
        models=MODELS,
        usable=lambda _: None,
        device=DeviceFacts(),
    )


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_codec_has_a_preset_it_can_follow(codec: str, scale: int) -> None:
    spec = CODECS[codec]
    preset = load_preset(codec)
    assert preset.codec == codec
    made = plan(media(), f"out.{spec.containers[0]}", codec, scale=scale)
    options = dict(made.encode.options)
    for option in (spec.quality_option, spec.speed_option):
        assert option is None or option in options
    if spec.quality_range is not None:
        low, high = spec.quality_range
        assert low <= (preset.quality_at(scale) or -1) <= high


@pytest.mark.parametrize("name", [preset.name for preset in find_presets()])
def test_the_encoder_knows_every_option_of_the_shipped_presets(name: str, tmp_path: Path) -> None:
    info = media(video(width=128, height=128), path="film.avi")
    made = plan(info, None, name)
    if problem := encoder_problem(made.encode.name):
        pytest.skip(problem)
    with av.open(str(tmp_path / f"out.{made.container}"), "w") as output:
        VideoEncoder(output, made)  # Raises if an option is left over or refused.


@pytest.mark.parametrize(
    ("codec", "threads"), [("h264", (1, 3, 32)), ("hevc", (1, 1, 5)), ("av1", (0, 0, 0))]
)
def test_threads_that_decide_what_pictures_are_do_not_depend_on_the_machine_that_encodes(
    codec: str, threads: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, wanted in zip((1, 2, 64), threads, strict=True):
        monkeypatch.setattr("vsr.plan.encode.usable_cores", lambda cores=cores: cores)
        assert plan(media(), "o.mkv", codec).encode.threads == wanted


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gets_its_usual_codec(container: str) -> None:
    spec = CONTAINERS[container]
    made = plan(media(), f"out{spec.extensions[0]}", "x2")
    assert (made.container, made.encode.name) == (container, spec.default_codec)


@pytest.mark.parametrize("name", [preset.name for preset in find_presets()])
def test_every_shipped_preset_plans_an_ordinary_file(name: str) -> None:
    made = plan(media(path="film.avi"), None, name)
    assert made.given_up == ()


def test_both_floors_agree_on_the_matrices_that_can_be_read() -> None:
    assert {matrix for matrix in MATRICES if matrix.name != "RGB"} == _READABLE
    assert set(MATRIX_NAMES.values()) <= _READABLE


def test_planning_real_files(reference: Path) -> None:
    planned = 0
    for path in sorted([*reference.glob("clips/*"), *reference.glob("nasty/*")]):
        try:
            info = probe(str(path))
        except InputError:
            assert path.name == "g02_truncated_no_moov.mp4"
            continue
        for preset in ("x2", "x3-hevc"):
            made = plan(info, None, preset)
            assert {a.stream.index for a in made.streams} | {made.video.index} == {
                s.index for s in info.streams
            }
            assert max(map(len, describe(made).splitlines()[2:])) <= 100
            planned += 1
    assert planned >= 2 * 36


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "webm"])
def test_file_tags_survive(container: str, tmp_path: Path) -> None:
    ordinary = {"title": "T", "comment": "C", "creation_time": "2021-05-25T16:21:51.000000Z"}
    place = "+37.7450-122.4301/"  # FFmpeg reads QuickTime's with and without its language.
    phone = {"com.apple.quicktime.model": "M", "composer": "K", "make": "A", "custom": "X"}
    for tags in (ordinary, ordinary | phone, dict.fromkeys(("location", "location-eng"), place)):
        info = media(path="film.avi", metadata=tuple(tags.items()))
        path = tmp_path / f"out.{container}"
        made = plan(info, str(path), "vp9" if container == "webm" else "h264")
        assert ("use_metadata_tags" in str(made.container_options)) == (
            "custom" in tags and container in ("mp4", "mov")
        )
        muxer = CONTAINERS[container].muxer
        with av.open(str(path), "w", muxer, options=dict(made.container_options)) as output:
            output.metadata.update(tags)
            encoder = output.add_stream(made.encode.encoder, rate=25)
            encoder.width = encoder.height = 64
            encoder.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            output.mux(encoder.encode(frame))
            output.mux(encoder.encode(None))
        with av.open(str(path)) as result:
            found = {name.lower(): value for name, value in result.metadata.items()}
        assert {name.lower(): value for name, value in tags.items()}.items() <= found.items()


def test_a_video_nobody_can_hold_is_not_planned_silently() -> None:
    made = plan(media(video(fmt="yuva444p12le", dolby_vision=True)), "out.mp4", "x2")
    assert len(made.given_up) == 2
