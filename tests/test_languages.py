"""Languages and tags of streams: written where the container has a place, else named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import pytest
from media_factory import media, stream, video
from plan_factory import run, write_plan
from synth import make_clip

from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.media.containers import CONTAINERS
from vsr.media.probe import probe
from vsr.plan.notes import Notes
from vsr.plan.streams import plan_streams
from vsr.plan.tags.languages import language_for
from vsr.plan.tags.lost import lost_tags

# A tag, and the language as .mp4 and .mov give it back, and whether that says everything.
_LANGUAGES = [
    ("deu", ("deu", True), ("ger", True)),
    ("ger", ("ger", True), ("ger", True)),
    ("de", ("deu", True), ("ger", True)),
    ("ENG", ("eng", True), ("eng", True)),
    ("en-GB", ("eng", False), ("eng", False)),
    ("pt-BR", ("por", False), ("por", False)),
    ("zh-Hant-TW", ("zho", False), ("chi", False)),
    ("eng,fra", ("eng", False), ("eng", False)),
    ("hrv", ("hrv", True), ("hr ", True)),
    ("hr ", ("hrv", True), ("hr ", True)),
    ("srp", ("srp", True), ("sr ", True)),
    ("fa", ("fas", True), ("per", True)),
    ("nob", ("nob", True), ("nor", False)),
    ("iw", ("heb", True), ("heb", True)),
    ("glg", ("glg", True), (None, False)),
    ("yue-HK", ("yue", False), (None, False)),
    ("zxx", ("zxx", True), (None, False)),
    ("qaa", ("qaa", True), (None, False)),
    ("x-klingon", (None, False), (None, False)),
    ("Deutsch", (None, False), (None, False)),
    ("und", ("und", True), ("und", True)),
]  # fmt: skip


def _tagged(path: Path, tags: Mapping[str, str]) -> Path:
    """Pictures, and sound that the file says this of."""
    clip = make_clip(path.with_name("plain.mkv"), frames=4, audio="aac")
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        streams: dict[int, Any] = {}
        for one in old.streams:
            streams[one.index] = new.add_stream_from_template(one, opaque=True)
        streams[1].metadata.update(tags)
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return path


@pytest.mark.parametrize("box", ["mp4", "mov"])
def test_languages_survive_as_far_as_the_container_has_them(box: str, tmp_path: Path) -> None:
    row = CONTAINERS[box]
    for tag, *expected in _LANGUAGES:
        code, whole = expected[box == "mov"]
        language = language_for(tag, row.languages)
        assert (language.code, language.whole) == (code, whole), tag
        assert (
            any(lost_tags(stream(1, "audio", "aac", metadata=(("language", tag),)), row)) != whole
        )
    # Those that differ, written and read back by FFmpeg.
    sources = {tag: expected[box == "mov"][0] for tag, *expected in _LANGUAGES}
    found = {}
    for tag, code in sources.items():
        out = tmp_path / f"out.{box}"
        with av.open(str(out), "w") as file:
            sound = file.add_stream("pcm_s16le", rate=8000, layout="mono")
            if code is not None:
                sound.metadata["language"] = code
            packet = av.Packet(bytes(16))
            packet.stream, packet.pts, packet.dts = sound, 0, 0
            file.mux(packet)
        with av.open(str(out)) as file:
            found[tag] = file.streams[0].metadata.get("language", "und")
    assert found == {tag: code or "und" for tag, code in sources.items()}


@pytest.mark.parametrize("box", ["mkv", "webm"])
def test_matroska_takes_any_tag(box: str) -> None:
    row = CONTAINERS[box]
    for tag, *_ in _LANGUAGES:
        said = (("language", tag), ("COMMENT", "x"), ("SOURCE_ID", "001"))
        assert not [*lost_tags(stream(1, "audio", "aac", metadata=said), row)]
    assert language_for("pt-BR", row.languages).code == "pt-BR"
    assert language_for("hr ", row.languages).code == "hrv"


@pytest.mark.parametrize(
    ("box", "tag", "code"),
    [
        ("mp4", "pt-BR", "por"),
        ("mov", "hrv", "hr "),
        ("mov", "glg", None),
        ("mkv", "pt-BR", "pt-BR"),
    ],
)
def test_results(box: str, tag: str, code: str | None, tmp_path: Path) -> None:
    source = _tagged(tmp_path / "in.mkv", {"language": tag})
    plan = write_plan(source, tmp_path / f"out.{box}")
    run(plan)
    assert probe(plan.destination).of_kind("audio")[0].language == code


def test_what_is_lost_is_named_and_refused_by_strict(tmp_path: Path) -> None:
    tags = {"language": "pt-BR", "title": "Som", "comment": "dublado", "BPS": "96000"}
    source, out = _tagged(tmp_path / "in.mkv", tags), tmp_path / "out.mp4"
    with pytest.raises(StrictError) as caught:
        upscale(str(source), str(out), model="bicubic", device="cpu", strict=True)
    said = str(caught.value)
    sound = "stream 1 (audio, aac, pt-BR): .mp4 has"
    assert f"{sound} no language pt-BR; it becomes por. Use .mkv." in said
    assert f"{sound} no place for a stream's tag COMMENT. Use .mkv." in said
    assert "BPS" not in said
    assert not out.exists()
    whole = tmp_path / "out.mkv"
    report = upscale(str(source), str(whole), model="bicubic", device="cpu", strict=True)
    assert report.frames_out == 4
    kept = dict(probe(str(whole)).streams[1].metadata)
    assert (kept["language"], kept["title"], kept["COMMENT"]) == ("pt-BR", "Som", "dublado")


def test_what_belongs_to_the_old_file_is_no_loss() -> None:
    main, notes = video(), Notes()
    said = (
        *(("language", "eng"), ("title", "Main"), ("HANDLER_NAME", "SoundHandler")),
        *(("creation_time", "2020-01-01T00:00:00Z"), ("ENCODER", "Lavc"), ("DURATION", "1")),
        *(("BPS-eng", "96000"), ("_STATISTICS_TAGS", "BPS"), ("vendor_id", "[0][0][0][0]")),
        ("file_package_umid", "0x060A2B34"),
    )
    info = media(main, stream(1, "audio", "aac", channels=2, sample_rate=48000, metadata=said))
    for row in CONTAINERS.values():
        if row.name != "webm":  # there, the sound itself is encoded anew
            plan_streams(info, main, row, notes)
    assert not notes.given_up
