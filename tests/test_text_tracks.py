"""Text tracks of MP4: they lie on the enlarged picture where they lay on the small one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from synth import Subtitle, make_clip

import vsr
from vsr.media.write.mp4.texts import TextPlace, place_texts, text_places

ONE = 1 << 16
PLACE = TextPlace(width=60 * ONE, height=12 * ONE, left=2 * ONE, top=30 * ONE)
LINES = (
    Subtitle(Fraction(1, 10), Fraction(3, 10), "Hello"),
    Subtitle(Fraction(5, 10), Fraction(7, 10), "World"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64x48 with a text track of 60x12 at (2, 30), as editors make them."""
    path = tmp_path_factory.mktemp("texts") / "in.mp4"
    make_clip(path, frames=25, audio="aac", subtitles=LINES, subtitle_codec="mov_text")
    [(number, _)] = text_places(path).items()
    place_texts(path, [PLACE], 1)
    assert text_places(path) == {number: PLACE}
    return path


def header(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(container.streams.subtitles[0].codec_context.extradata or b"")


def words(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(subtitles=0) if p.size > 2]


@pytest.mark.parametrize("box", ["mp4", "mov"])
@pytest.mark.parametrize("cut", [{}, {"frames": 5}, {"start": 0.4, "frames": 10}])
def test_place_and_letters_grow_with_the_picture(
    source: Path, tmp_path: Path, box: str, cut: dict[str, float]
) -> None:
    out = tmp_path / f"out.{box}"
    vsr.upscale(str(source), str(out), scale=3, model="bicubic", device="cpu", **cut)  # type: ignore[arg-type]
    [place] = text_places(out).values()
    assert place == TextPlace(180 * ONE, 36 * ONE, 6 * ONE, 90 * ONE)
    if not cut:
        assert words(out) == words(source)
    if box == "mov":
        return  # FFmpeg makes it a text of QuickTime's, whose header is another
    before, after = header(source), header(out)
    # Box from byte 10, size of letters at 25 (3GPP TS 26.245, 5.16).
    sides = [int.from_bytes(before[at : at + 2], "big") for at in range(10, 18, 2)]
    assert [int.from_bytes(after[at : at + 2], "big") for at in range(10, 18, 2)] == [
        3 * side for side in sides
    ]
    assert (before[25], after[25]) == (before[25], 3 * before[25])
    same = [(0, 10), (18, 25), (26, 30)]
    assert [before[a:b] for a, b in same] == [after[a:b] for a, b in same]


def test_of_an_address_the_size_grows(source: Path, tmp_path: Path) -> None:
    """What is not a file here cannot be looked into for the place, which FFmpeg forgets."""
    out = tmp_path / "out.mp4"
    vsr.upscale(source.as_uri(), str(out), scale=2, model="bicubic", device="cpu")
    assert list(text_places(out).values()) == [TextPlace(120 * ONE, 24 * ONE, 0, 0)]


def test_what_was_converted_is_left_alone(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mkv", frames=25, subtitles=LINES).path
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    for out, scale in ((one, 2), (two, 3)):
        vsr.upscale(str(path), str(out), scale=scale, model="bicubic", device="cpu")
    assert list(text_places(one).values()) == list(text_places(two).values())
    assert header(one) == header(two)


def test_files_of_other_kinds_have_none(tmp_path: Path) -> None:
    for content in (b"", b"\0\0\0\x08moov", b"RIFF" * 9):
        (tmp_path / "a").write_bytes(content)
        assert text_places(tmp_path / "a") == {}
    assert text_places(make_clip(tmp_path / "a.mkv", frames=2).path) == {}
