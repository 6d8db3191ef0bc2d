"""Sound that needs more than its packets: settings and headers that muxers learn late."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import media, plan_for, stream, video
from plan_factory import run, write_plan
from synth import make_clip

from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.media.containers import CONTAINERS
from vsr.plan.notes import Notes
from vsr.plan.streams import plan_streams


def _packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        return [
            (Fraction(p.pts) * p.time_base, bytes(p))
            for p in file.demux(stream)
            if p.size and p.pts is not None
        ]


def _samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])


def test_raw_aac_that_begins_early(tmp_path: Path) -> None:
    """Without settings in the source's header there is none to give a Matroska delay to."""
    clip = make_clip(tmp_path / "in.ts", frames=25, audio="aac")
    old = _packets(clip.path, "audio")
    begin = _packets(clip.path, "video")[0][0]
    early = [time for time, _ in old if time < begin]
    assert early
    out = tmp_path / "out.mkv"
    (warning,) = run(write_plan(clip.path, out, time_shift=-begin)).warnings
    assert f"{len(early)} packets of audio stream 1 lie before time zero" in warning
    with av.open(str(out)) as file:
        assert [s.type for s in file.streams] == ["video", "audio"]
        sound = file.streams.audio[0].codec_context
        assert (sound.profile, sound.sample_rate, sound.channels) == ("LC", 48000, 2)
    assert [data for _, data in _packets(out, "audio")] == [d[7:] for _, d in old[len(early) :]]
    # Decoded, it is the source's from the second packet on; the first lacks its predecessor. Only
    # nearly, as decoders make up noise that depends on what they decoded before.
    have, want = _samples(out), _samples(clip.path)[len(early) * 1024 :]
    np.testing.assert_allclose(have[1024:], want[1024:], atol=1e-4)


def test_sound_converted_to_flac_has_its_final_header(tmp_path: Path) -> None:
    """FLAC's last packet is empty, and brings the muxer what the header says of all samples."""
    clip = make_clip(tmp_path / "in.mov", frames=50, audio="pcm_alaw")
    out = tmp_path / "out.mkv"
    run(write_plan(clip.path, out))
    old, new = _samples(clip.path), _samples(out)
    np.testing.assert_array_equal(new, old)
    with av.open(str(out)) as file:
        header = bytes(file.streams.audio[0].codec_context.extradata or b"")
    # STREAMINFO (RFC 9639, 8.2) ends with the number of samples in 36 bits, and their MD5.
    assert int.from_bytes(header[-21:-16], "big") & ((1 << 36) - 1) == new.size // 2
    assert any(header[-16:])


def _with_channels(path: Path, layout: str, count: int) -> Path:
    """A clip with PCM, a deep tone in each channel, the n-th n thousand loud."""
    clip = make_clip(path.with_name(f"plain-{path.name}"), frames=5)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0], opaque=True)
        sound = new.add_stream("pcm_s16le", rate=48000)
        sound.codec_context.layout = layout
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = picture
                new.mux(packet)
        tone = np.sin(2 * np.pi * 75 * np.arange(9600) / 48000)
        samples = np.outer(tone, np.arange(1, count + 1) * 1000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", layout)
        frame.sample_rate, frame.pts = 48000, 0
        for ready in [*sound.encode(frame), *sound.encode(None)]:
            new.mux(ready)
    return path


def _levels(path: Path) -> list[int]:
    """How loud each channel is, in thousands."""
    with av.open(str(path)) as file:
        planes = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], 1)
    assert planes.dtype == np.float32
    middle = planes[:, 2400:7200]  # whole periods
    return [round(v) for v in np.sqrt(2 * (middle**2).mean(1)) * 32.768]


@pytest.mark.parametrize(
    ("count", "layout"), [(2, "stereo"), (3, "3.0"), (7, "6.1"), (16, "9.1.6")]
)
def test_pcm_whose_channels_have_no_place_goes_into_mp4(
    count: int, layout: str, tmp_path: Path
) -> None:
    source = _with_channels(tmp_path / "in.mov", f"{count} channels", count)
    report = upscale(source, tmp_path / "out.mp4", 2, model="bicubic")
    assert report.given_up == ()
    assert _packets(tmp_path / "out.mp4", "audio") == _packets(source, "audio")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.audio[0].layout.name == layout


def test_channels_that_no_layout_has_are_named_before_anything_is_encoded(tmp_path: Path) -> None:
    source = _with_channels(tmp_path / "in.mov", "11 channels", 11)
    (sentence,) = upscale(source, tmp_path / "out.mp4", 2, model="bicubic").given_up
    assert "(11 channels). Use .mov or .mkv." in sentence
    with pytest.raises(StrictError, match="11 channels"):
        upscale(source, tmp_path / "strict.mp4", 2, model="bicubic", strict=True)
    upscale(source, tmp_path / "out.mkv", 2, model="bicubic")
    copied, original = _packets(tmp_path / "out.mkv", "audio"), _packets(source, "audio")
    assert [data for _, data in copied] == [data for _, data in original]


@pytest.mark.parametrize(("layout", "count", "action", "told"), [
    ("3 channels", 3, "copy", ["3.0"]),
    ("2 channels", 2, "copy", []),
    ("5.1", 6, "copy", []),
    ("ambisonic 1", 4, "drop", []),  # directions, not speakers
])  # fmt: skip
def test_places_that_pcm_is_given_in_mp4_are_told(
    layout: str, count: int, action: str, told: list[str]
) -> None:
    main, notes = video(), Notes()
    info = media(main, stream(1, "audio", "pcm_s16le", layout=layout, channels=count))
    (fate,) = plan_streams(info, main, CONTAINERS["mp4"], notes)
    assert (fate.action, [reason.choice for reason in notes.reasons]) == (action, told)


@pytest.mark.parametrize(("layout", "count", "becomes", "levels"), [
    ("2.1", 3, "5.1", [1, 2, 0, 3, 0, 0]),  # left, right, bass
    ("5.0", 5, "5.1", [1, 2, 3, 0, 4, 5]),  # left, right, centre, two behind
    ("5.1(side)", 6, "5.1", [1, 2, 3, 4, 5, 6]),
    ("3 channels", 3, "3.0", [1, 2, 3]),
    ("4 channels", 4, "quad", [1, 2, 3, 4]),
    ("5 channels", 5, "5.1", [1, 2, 3, 0, 4, 5]),
])  # fmt: skip
def test_opus_keeps_every_channel(
    layout: str, count: int, becomes: str, levels: list[int], tmp_path: Path
) -> None:
    source = _with_channels(tmp_path / "in.mov", layout, count)
    (sentence,) = upscale(source, tmp_path / "out.webm", 2, model="bicubic").given_up
    assert "re-encoded to opus, since" in sentence
    with av.open(str(tmp_path / "out.webm")) as file:
        assert file.streams.audio[0].layout.name == becomes
    assert _levels(tmp_path / "out.webm") == levels


@pytest.mark.parametrize(("layout", "count", "becomes"), [
    ("5.1.4", 10, "7.1"), ("6.1", 7, "7.1"), ("4.0", 4, "quad"),
])  # fmt: skip
def test_channels_that_opus_has_no_place_for_are_mixed_and_named(
    layout: str, count: int, becomes: str, tmp_path: Path
) -> None:
    source = _with_channels(tmp_path / "in.mov", layout, count)
    (sentence,) = upscale(source, tmp_path / "out.webm", 2, model="bicubic").given_up
    assert f"re-encoded to opus, and mixed from {layout} to {becomes}, since" in sentence
    with av.open(str(tmp_path / "out.webm")) as file:
        assert file.streams.audio[0].layout.name == becomes


@pytest.mark.parametrize(("layout", "count", "fate"), [
    ("5.1(side)", 6, "5.1"), ("7.1", 8, ""), ("7.1(wide)", 8, "7.1"), ("5.1.4", 10, "7.1"),
    ("6.1", 7, "7.1"), ("7 channels", 7, "7.1"),
    ("5 channels", 5, "5.0"), ("6 channels", 6, "5.1"), ("12 channels", 12, None),
    ("ambisonic 2", 9, None),
])  # fmt: skip
def test_layouts_for_aac(layout: str, count: int, fate: str | None) -> None:
    info = media(video(), stream(1, "audio", "wavpack", layout=layout, channels=count))
    (action,) = plan_for(info).streams
    assert (action.action, action.layout) == (("drop", "") if fate is None else ("convert", fate))


def _loud(path: Path, encoder: str, layout: str = "stereo") -> Path:
    """A clip with a tone half as loud again as full scale."""
    clip = make_clip(path.with_name(f"plain-{path.name}"), frames=10)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0], opaque=True)
        sound = new.add_stream(encoder, rate=48000)
        sound.codec_context.layout, sound.codec_context.bit_rate = layout, 192_000
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = picture
                new.mux(packet)
        kind, form = ("dbl", np.float64) if "f64" in encoder else ("flt", np.float32)
        tone = 1.5 * np.sin(2 * np.pi * 75.3 * np.arange(19200) / 48000)
        rows = np.repeat(tone.astype(form), sound.codec_context.layout.nb_channels)[None]
        frame = av.AudioFrame.from_ndarray(rows, kind, layout)
        frame.sample_rate, frame.pts = 48000, 0
        for ready in [*sound.encode(frame), *sound.encode(None)]:
            new.mux(ready)
    return path


@pytest.mark.parametrize(
    ("codec", "becomes", "layout"),
    [
        ("pcm_f32be", "pcm_f32le", "stereo"),
        ("pcm_f64be", "pcm_f64le", "stereo"),
        ("pcm_f32be", "pcm_f32le", "11 channels"),
    ],
)
def test_float_sound_keeps_every_sample(
    codec: str, becomes: str, layout: str, tmp_path: Path
) -> None:
    source = _loud(tmp_path / "in.mov", codec, layout)
    report = upscale(source, tmp_path / "out.mkv", 2, model="bicubic", strict=True)
    assert report.given_up == report.warnings == ()
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.audio[0].codec.canonical_name == becomes
    old, new = _samples(source), _samples(tmp_path / "out.mkv")
    assert np.abs(old).max() > 1.49
    np.testing.assert_array_equal(new, old)


def test_samples_that_are_cut_are_counted(tmp_path: Path) -> None:
    """Of sound that was compressed, only decoding it tells how loud it is."""
    source = _loud(tmp_path / "in.wmv", "wmav2")
    report = upscale(source, tmp_path / "out.mkv", 2, model="bicubic")
    with av.open(str(source)) as file:
        old = np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], 1)
    count = int((np.abs(old) > 1).sum())
    assert count > 1000
    assert f"{count} samples of audio stream 1 are beyond full scale" in " ".join(report.warnings)
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.audio[0].codec.canonical_name == "flac"
        packed = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])
    new = packed.reshape(-1, 2).T / 2.0**31
    size = min(new.shape[1], old.shape[1])
    np.testing.assert_allclose(new[:, :size], old[:, :size].clip(-1, 1), atol=2.0**-22)


@pytest.mark.parametrize(("codec", "lost"), [
    ("pcm_f32be", True), ("pcm_s64le", True), ("pcm_u32be", True), ("pcm_s24be", False),
    ("wmav2", False),
])  # fmt: skip
def test_what_flac_cannot_hold_is_named(codec: str, lost: bool) -> None:
    main, notes = video(), Notes()
    picky = replace(CONTAINERS["mkv"], audio=("flac",))
    info = media(main, stream(1, "audio", codec, layout="stereo", channels=2))
    (action,) = plan_streams(info, main, picky, notes)
    assert (action.action, action.codec) == ("convert", "flac")
    assert ["rounded to 24 bits" in sentence for sentence in notes.given_up] == [True] * lost
    assert ("keeps every sample" in action.why) == (codec == "pcm_s24be")


@pytest.mark.parametrize(("kind", "codec", "why"), [
    ("subtitle", "dvb_teletext", "holds no dvb_teletext subtitles."),
    ("audio", "unknown", "cannot hold unknown."),
])  # fmt: skip
def test_no_hint_leads_to_where_it_does_not_help(kind: str, codec: str, why: str) -> None:
    main = video()
    info = media(main, stream(1, kind, codec))
    for box in CONTAINERS:
        notes = Notes()
        plan_streams(info, main, CONTAINERS[box], notes, CONTAINERS["mkv"])
        assert notes.given_up == [f"stream 1 ({kind}, {codec}): .{box} {why}"]
