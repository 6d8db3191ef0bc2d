"""What calls from Python may ask for: refused by name, or taken as the command line takes it."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from independent import decode_frames
from synth import make_clip

import vsr
from pipelines.upscale import plan_upscale
from pipelines.wishes import plan_wishes
from vsr.errors import UsageError
from vsr.plan import Request
from vsr.types import ChromaSite, ColorRange, Matrix, Plan


def test_every_field_of_a_request_is_checked() -> None:
    assert {field.name for field in fields(Request)} <= _known()


def _known() -> set[str]:
    with pytest.raises(UsageError) as caught:
        plan_wishes(source="a.mp4", qwertyuiop=1)
    return set((caught.value.remedy or "").removeprefix("Options: ").rstrip(".").split(", "))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"deinterlace": False}, "deinterlace must be one of 'auto', 'on', 'off', not False"),
        ({"deinterlace": "never"}, "deinterlace must be one of 'auto', 'on', 'off', not 'never'"),
        ({"on_resize": "crop"}, "on_resize must be one of 'error', 'scale', not 'crop'"),
        ({"strict": "no"}, "strict must be True or False, not 'no'"),
        ({"overwrite": 1}, "overwrite must be True or False, not 1"),
        ({"batch": -1}, "batch must be a whole number from 1 to 64, not -1"),
        ({"batch": 0}, "batch must be a whole number from 1 to 64, not 0"),
        ({"batch": True}, "batch must be a whole number from 1 to 64, not True"),
        ({"device": 0}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 0"),
        ({"scale": "2"}, "scale must be a whole number, not '2'"),
        ({"quality": "17"}, "quality must be a whole number, 0 or more, not '17'"),
        ({"quality": 17.5}, "quality must be a whole number, 0 or more, not 17.5"),
        ({"frames": 0}, "frames must be a whole number, 1 or more, not 0"),
        ({"options": ["tune=film"]}, "options must be a mapping such as {'tune': 'film'}"),
        ({"options": {"tune": None}}, "options must be a mapping such as {'tune': 'film'}"),
        ({"range": "wide"}, "range must be one of 'limited', 'full', or a vsr.types.ColorRange"),
        ({"matrix": 1}, "matrix must be one of 'bt601', 'bt709', "),
        ({"preset": 5}, "preset must be a name, or the path of a file, not 5"),
        ({"weights": ""}, "weights must be a name, or the path of a file, not ''"),
        ({"destination": ""}, "destination must be a path: text that is not empty"),
        ({"codec": ""}, "codec must be a text that is not empty, not ''"),
        ({"end": "1:02"}, "end must be a number of seconds"),
        ({"devices": ["cpu"]}, "devices must be one text, such as 'cuda:0,cuda:1'"),
        ({"ray": ""}, "ray must be a text that is not empty"),
        ({"resume": "no"}, "resume must be True or False, not 'no'"),
    ],
)
def test_what_an_option_does_not_take_is_an_error_that_names_it(
    wish: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        vsr.upscale("is not looked at.mp4", **wish)
    assert said in caught.value.what


def test_a_source_is_a_path() -> None:
    for source in (None, b"a.mp4", ""):
        with pytest.raises(UsageError, match="source must be a path"):
            vsr.upscale(source)  # type: ignore[arg-type]


def test_values_are_taken_as_they_are_written(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3).path
    preset = tmp_path / "mine.toml"
    preset.write_text('[encode]\nspeed = "medium"\n')

    def plan(source: str | Path, destination: str | Path, **wishes: Any) -> Plan:
        return plan_upscale(source, destination, scale=2, model="bicubic", **wishes)

    wanted = plan(
        *(str(clip), str(tmp_path / "out.mp4")),
        preset=str(preset),
        options=(("tune", "film"), ("bf", "2"), ("aq-mode", "1")),
        matrix=Matrix.BT709,
        range=ColorRange.FULL,
        site=ChromaSite.CENTER,
        device="cpu",
        frames=2,
    )
    assert ("tune", "film") in wanted.encode.options
    found = plan(
        *(clip, tmp_path / "out.mp4"),
        preset=preset,
        options={"tune": "film", "bf": 2, "aq-mode": True},
        matrix="bt709",
        range="full",
        site="center",
        device=torch.device("cpu"),
        frames=2,
    )
    assert found == wanted
    assert vsr.probe(clip) == vsr.probe(str(clip))


def test_seconds_may_be_fractions(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=12)
    start, end = Fraction("0.08"), 0.28
    report = vsr.upscale(clip.path, model="bicubic", start=start, end=end, options={"tune": "film"})
    assert (report.frames_out, report.destination) == (5, str(tmp_path / "in_x2.mp4"))
    assert len(decode_frames(tmp_path / "in_x2.mp4").times) == 5


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize(
    "seconds", [-1, -0.5, Fraction(-1, 3), float("nan"), float("inf"), True, "1", 1 + 0j, None]
)
def test_a_time_is_a_number_from_0_on(name: str, seconds: Any) -> None:
    if seconds is None:
        assert plan_wishes(source="a.mp4", **{name: None}) == {"source": "a.mp4"}
        return
    with pytest.raises(UsageError, match=f"{name} must be a number of seconds, 0 or more"):
        plan_wishes(source="a.mp4", **{name: seconds})


@pytest.mark.parametrize(
    "seconds", [0.08, Fraction("0.08"), Decimal("0.08"), np.float64(0.08), np.float32(0.08)]
)
def test_a_time_is_the_number_it_is_written_as(seconds: Any) -> None:
    assert plan_wishes(source="a.mp4", start=seconds)["start"] == Fraction(2, 25)
    whole = plan_wishes(source="a.mp4", start=np.int64(2))["start"]
    assert whole == 2
    assert type(whole.numerator) is int


def test_who_listens_must_be_a_function() -> None:
    with pytest.raises(UsageError, match="on_event must be a function, not 5"):
        vsr.upscale("is not looked at.mp4", on_event=5)  # type: ignore[arg-type]
