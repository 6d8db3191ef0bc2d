"""Sound that needs more than its packets: settings and headers that muxers learn late."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from plan_factory import run, write_plan
from synth import make_clip


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
