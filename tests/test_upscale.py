"""Whole upscales, read back by an ffmpeg that is not PyAV's."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from independent import decode_frames, packet_hashes
from synth import Subtitle, make_clip

import vsr
from pipelines.events import Event, Progress
from pipelines.predict import predict
from pipelines.upscale import plan_upscale, run_upscale, upscale
from vsr.engine.upscaler import Upscaler
from vsr.errors import InputError, ModelError, OutputError, StrictError, UsageError
from vsr.types import FrameBatch

MILLISECOND = Fraction(1, 1000)


def leftovers(folder: Path, *expected: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in expected)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_variable_frame_rate_keeps_every_timestamp(tmp_path: Path, suffix: str) -> None:
    pts = [0, 1, 2, 7, 8, 30, 31, 33, 60, 61, 62, 90]
    clip = make_clip(
        tmp_path / "in.mp4",
        pts=pts,
        time_base=Fraction(1, 30),
        options={"g": "6", "bf": "3", "qp": "20"},
        audio="aac",
    )
    result = tmp_path / f"out{suffix}"
    report = upscale(clip.path, result, 2, model="bicubic")
    assert (report.frames_in, report.frames_out, report.verified) == (12, 12, True)
    got = decode_frames(result)
    slack = MILLISECOND / 2 if suffix == ".mkv" else 0
    assert all(abs(g - w) <= slack for g, w in zip(got.times, clip.times, strict=True))
    assert packet_hashes(result, "a:0") == packet_hashes(clip.path, "a:0")
    assert leftovers(tmp_path, "in.mp4", result.name) == []


def test_a_minute_with_sound_keeps_every_audio_packet(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mp4", width=32, height=32, frames=600, rate=10, audio="aac", audio_tracks=2
    )
    result = tmp_path / "out.mp4"
    report = upscale(clip.path, result, 2, model="bicubic", batch=8)
    assert report.frames_out == 600
    assert decode_frames(result).times == clip.times
    for track in ("a:0", "a:1"):
        source = packet_hashes(clip.path, track)
        assert len(source) > 2800
        assert packet_hashes(result, track) == source


def test_pixels_are_the_networks(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=4, codec="ffv1", pix_fmt="yuv420p")
    result = tmp_path / "out.mkv"
    plan = plan_upscale(str(clip.path), str(result), scale=3, model="fdiwn", batch=3)
    run_upscale(plan)
    network = Upscaler(3, "fdiwn")
    wanted = [
        plane
        for batch in vsr.frames(clip.path)
        for plane in network.upscale(batch, plan.encode.format, plan.encode.tags).planes
    ]
    got = [plane for batch in vsr.frames(result) for plane in batch.planes]
    assert len(got) == len(wanted) == 12
    for a, b in zip(got, wanted, strict=True):
        # Batches of three and of one may differ in the last bit of a float.
        assert (a.int() - b.int()).abs().max() <= 1


def test_trimmed_part_starts_at_zero_with_its_sound(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=50, audio="aac", options={"g": "10", "bf": "2"})
    result = tmp_path / "out.mp4"
    report = upscale(
        clip.path, result, 2, model="bicubic", start=Fraction("0.7"), end=Fraction("1.5")
    )
    wanted = [time for time in clip.times if Fraction("0.7") <= time < Fraction("1.5")]
    assert report.frames_out == len(wanted) == 20
    assert decode_frames(result).times == tuple(time - wanted[0] for time in wanted)
    source, kept = packet_hashes(clip.path, "a:0"), packet_hashes(result, "a:0")
    assert 36 <= len(kept) <= 40
    assert kept[0] in source
    first = source.index(kept[0])
    assert kept == source[first : first + len(kept)]


def test_a_float_means_what_is_written(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=12)  # at 0.08 s, which no float is, the third
    assert clip.times[2] == Fraction("0.08")
    report = upscale(clip.path, tmp_path / "out.mp4", 2, model="bicubic", start=0.08, end=0.28)
    assert report.frames_out == 5


def test_events_tell_the_progress(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=10)
    events: list[Event] = []
    upscale(clip.path, tmp_path / "out.mp4", 2, model="bicubic", batch=4, on_event=events.append)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.frames for event in progress] == [4, 8, 10]
    assert {event.total for event in progress} == {10}
    assert progress[-1].eta == 0


def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=10)
    result = tmp_path / "out.mp4"
    result.write_bytes(b"somebody's file")
    original = Upscaler.upscale

    def failing(self: Upscaler, batch: FrameBatch, *rest: Any, **how: Any) -> FrameBatch:
        if batch.first_index == 5:
            raise ModelError("broken on purpose")
        return original(self, batch, *rest, **how)

    monkeypatch.setattr(Upscaler, "upscale", failing)
    with pytest.raises(ModelError, match="broken on purpose"):
        upscale(clip.path, result, 2, model="bicubic", overwrite=True)
    assert result.read_bytes() == b"somebody's file"
    assert leftovers(tmp_path, "in.mp4", "out.mp4") == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("vsr-")] == []


def test_an_interrupt_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.frames == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(clip.path, tmp_path / "out.mp4", 2, model="bicubic", on_event=interrupt)
    assert leftovers(tmp_path, "in.mp4") == []


def test_refusals_come_before_any_work(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mkv",
        subtitles=[Subtitle(Fraction(0), Fraction(1, 4), "hello")],
        attachments={"font.ttf": b"not really a font"},
    )
    existing = tmp_path / "there.mp4"
    existing.write_bytes(b"")
    with pytest.raises(OutputError, match="exists"):
        upscale(clip.path, existing, 2, model="bicubic")
    with pytest.raises(StrictError, match=r"font\.ttf"):
        upscale(clip.path, tmp_path / "out.mp4", 2, model="bicubic", strict=True)
    with pytest.raises(OutputError, match="replace its own source"):
        upscale(clip.path, clip.path, 2, model="bicubic", overwrite=True)
    with pytest.raises(ModelError, match="fdwin"):
        upscale(clip.path, tmp_path / "out.mkv", 2, model="fdwin")
    with pytest.raises(UsageError, match="no option 'overwrit'") as caught:
        upscale(clip.path, tmp_path / "out.mkv", overwrit=True)
    assert caught.value.remedy == "Did you mean 'overwrite'?"
    with pytest.raises(InputError, match="no such file"):
        upscale(tmp_path / "missing.mp4", tmp_path / "out.mkv")
    for value in ("1:02.5", float("nan"), float("inf")):
        with pytest.raises(UsageError, match="start must be a number of seconds"):
            upscale(clip.path, tmp_path / "out.mkv", start=value)
    assert leftovers(tmp_path, "in.mkv", "there.mp4") == []
    assert existing.read_bytes() == b""


def test_prediction_is_of_this_plan(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=60, audio="aac", options={"qp": "20"})
    plan = plan_upscale(str(clip.path), str(tmp_path / "out.mp4"), model="bicubic")
    prediction = predict(plan, seconds=0.2)
    assert prediction.frames == 60
    assert prediction.seconds is not None
    assert prediction.seconds == pytest.approx(60 / prediction.fps)
    assert leftovers(tmp_path, "in.mp4") == []
    report = run_upscale(plan)
    assert prediction.bytes is not None
    # The moving test picture costs the same in every frame, so the estimate must come close.
    assert 0.4 < prediction.bytes / report.bytes < 2.5


def test_tensors_go_through_the_same_network() -> None:
    rgb = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(1)) * 255
    larger = vsr.Upscaler(scale=2, model="bicubic")(rgb)
    assert larger.shape == (2, 3, 40, 48)
    assert larger.dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((3, 20, 24), "frame[None]"), ((1, 1, 20, 24), ""), ((1, 0, 20, 24), ""), ((1, 3, 0, 24), "")],
)
def test_tensors_of_another_shape_are_an_error(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(UsageError, match=r"must be \(N, 3, H, W\), not") as caught:
        vsr.Upscaler(scale=2, model="bicubic")(torch.rand(shape))
    assert remedy in caught.value.remedy


def test_frames_carry_a_decided_colour(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=5)
    batches = list(vsr.frames(clip.path, batch=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    rgb, alpha = vsr.to_rgb(batches[0].planes, batches[0].format, batches[0].color)
    assert rgb.shape == (2, 3, 48, 64)
    assert alpha is None
    assert [len(batch) for batch in vsr.frames(clip.path, start=0.08, count=2)] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "nasty/d03_partially_fragmented.mp4",
        "nasty/d04_vp9_10bit_vfr.webm",
        "nasty/d12_mov_text.mp4",
        "nasty/d16_gif_vfr.gif",
        "nasty/g01_dv_pal_pcm.avi",
        "nasty/g03_2audio_ass_attach_chapters_opengop.mkv",
        "nasty/g05_vfr.mp4",
        "nasty/g06_odd_853x479_444.mkv",
        "nasty/g10_hevc10_hdr10_opus.mkv",
    ],
)
def test_awkward_files(reference: Path, tmp_path: Path, name: str) -> None:
    source = reference / name
    facts = json.loads((reference / "facts.json").read_text())[name]
    suffix = source.suffix if source.suffix in {".mp4", ".webm"} else ".mkv"
    result = tmp_path / f"out{suffix}"
    plan = plan_upscale(str(source), str(result), model="bicubic")
    report = run_upscale(plan)
    assert report.frames_out == facts["decoded_v0_frames"]
    got = decode_frames(result).ticks()
    assert len(got) == facts["decoded_v0_frames"]
    # Facts are rounded to 1/90000 s, Matroska and WebM to 1/1000 s.
    assert abs(got[0] - facts["pts90k"]["first"]) <= 46
    assert abs(got[-1] - facts["pts90k"]["last"]) <= 46
    want = decode_frames(source).ticks()
    assert all(abs(g - w) <= 90 for g, w in zip(got, want, strict=True))


def test_a_broken_file_fails_and_leaves_nothing(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="moov"):
        upscale(reference / "nasty/g02_truncated_no_moov.mp4", tmp_path / "out.mp4")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("codec", ["vp9", "ffv1"])
def test_joined_segments_keep_the_shape_of_pixels(codec: str, tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mp4", width=32, height=32, frames=250, rate=10, sar=Fraction(16, 11)
    )
    out = tmp_path / "out.mkv"
    report = upscale(clip.path, out, 2, model="bicubic", codec=codec)
    assert report.segments > 1
    assert (report.frames_out, report.given_up) == (250, ())
    assert vsr.probe(str(out)).videos[0].sar == Fraction(16, 11)
