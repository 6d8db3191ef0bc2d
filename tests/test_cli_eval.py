"""``vsr eval`` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synth import make_clip

from pipelines.evaluate import Outcome
from vsr.cli.entry import run
from vsr.cli.eval_text import evaluation_text
from vsr.types import Candidate, Evaluation, FrameScore, MetricInfo

Captured = pytest.CaptureFixture[str]

QUICK = ("--model", "bicubic", "--metrics", "psnr_y,ssim_y", "--device", "cpu")


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    make_clip(tmp_path / "in.mkv", frames=3, codec="ffv1")
    monkeypatch.chdir(tmp_path)
    return "in.mkv"


def test_a_clip(clip: str, tmp_path: Path, capsys: Captured) -> None:
    assert run(["eval", clip, "-s", "2", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("in.mkv: x2 of its bicubic version, 3 frames\n")
    assert "PSNR (Y), mean of frames" in out
    assert "PSNR (Y) of the mean error" in out
    assert "protocol     video: the clip's own Y" in out
    assert "written: in_x2_eval.json\nwritten: in_x2_eval.csv\n" in err
    scores = json.loads((tmp_path / "in_x2_eval.json").read_text())
    assert scores["kind"] == "clip"
    assert len((tmp_path / "in_x2_eval.csv").read_text().splitlines()) == 4

    assert run(["eval", clip, "-s", "2", *QUICK]) == 4
    assert "in_x2_eval.json: the file already exists" in capsys.readouterr().err
    assert run(["eval", clip, "-s", "2", "-y", *QUICK]) == 0


def test_json_on_stdout_is_the_json_file(clip: str, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["eval", "--reference", clip, "--distorted", clip, "-o", "scores.csv", "--json"]
    assert run([*arguments, "--metrics", "psnr_y", "--device", "cpu"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out == json.loads((tmp_path / "scores.json").read_text())
    assert out["candidates"][0]["summary"]["psnr_y"] == "Infinity"


def test_a_report_takes_the_scores_with_it(clip: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "out").mkdir()
    degrade = ("--degrade", "video:crf=30,preset=ultrafast")
    assert run(["eval", clip, *QUICK, *degrade, "--report", "out/r.html", "--stills", "2"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["r.csv", "r.html", "r.json"]
    assert "video:crf=30,codec=x264,preset=ultrafast" in capsys.readouterr().out
    assert "data:image/png" in (tmp_path / "out" / "r.html").read_text()


def test_an_error_leaves_nothing(clip: str, tmp_path: Path, capsys: Captured) -> None:
    make_clip(tmp_path / "short.mkv", frames=2, codec="ffv1")
    before = sorted(tmp_path.iterdir())
    arguments = ["eval", "--reference", clip, "--distorted", "short.mkv", "--device", "cpu"]
    assert run([*arguments, "--report", "r.html", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)
    assert error["where"] == clip
    assert "frame 2 (pts 80, 0.080 s) has no partner: short.mkv ends after 2" in error["message"]
    assert sorted(tmp_path.iterdir()) == before


def test_results_do_not_replace_what_is_judged(clip: str, tmp_path: Path, capsys: Captured) -> None:
    page = Path(clip).rename(tmp_path / "in.html").name
    other = make_clip(tmp_path / "other.mkv", frames=3, codec="ffv1").path.name
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for named in (["--reference", page, "--distorted", other], [page, *QUICK]):
        assert run(["eval", *named, "--report", page, "-y"]) == 4
        assert "would replace one of the files it is made from" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a CLIP, --reference with --distorted, --images or --suite."),
        (["a.mkv", "--images", "b"], "CLIP and --images exclude each other"),
        (["--reference", "a.mkv"], "belong together"),
        (["--suite", "paper"], "--suite needs --data"),
        (["a.mkv", "--data", "b"], "--data belongs to --suite"),
        (["a.mkv", "--authors", "b"], "--authors belongs to --suite"),
        (["--images", "a", "--degrade", "bicubic"], "--degrade belongs to a CLIP"),
        (["a.mkv", "-s", "2", "-s", "3"], "One --scale at a time"),
        (["a.mkv", "-s", "5"], "'5' is not one of"),
        (["--reference", "a", "--distorted", "b", "-s", "2"], "--scale means nothing"),
        (["--suite", "paper", "--data", "a", "--report", "r.html"], "not a suite"),
        (["a.mkv", "--report", "r.mkv"], "its name ends with .html"),
        (["a.mkv", "-o", "r.html", "--report", "r.json"], "its name ends with .html"),
        (["--reference", "a", "--distorted", "b", "--model", "fdiwn"], "no network runs"),
        (["--reference", "a", "--distorted", "b", "--weights", "w"], "--weights means nothing"),
        (["--reference", "a", "--distorted", "b", "--backend", "torch"], "for two files"),
        (["--images", "a", "--frames", "3"], "--frames means nothing for --images"),
        (["--images", "a", "--start", "3"], "--start means nothing for --images"),
        (["--images", "a", "--align", "pts"], "images have no times"),
        (["--suite", "paper", "--data", "a", "--metrics", "lpips"], "PSNR and SSIM on Y"),
        (["--suite", "paper", "--data", "a", "--end", "3"], "--end means nothing for --suite"),
        (["a.mkv", "--align", "start"], "--align means nothing for a CLIP"),
        (["a.mkv", "--metrics", ","], "no metric is named"),
        (["a.mkv", "-o", "."], "the scores need the name of a file, and this is a folder"),
        (["a.mkv", "-o", ".."], "..: the scores need the name of a file"),
        (["a.mkv", "-o", "out/"], "FILE becomes FILE.json and FILE.csv"),
        (["a.mkv", "--metrics", "ms_ssim"], "it needs 176 pixels each way, and 64x48 are left"),
        (["a.mkv", "--model", "bicubic", "--metrics", "flicker", "--frames", "1"], "two frames"),
        (["a.mkv", "--degrade", "fog"], "'fog' is no degradation"),
        (["a.mkv", "--metrics", "psnr"], "there is no metric called 'psnr'"),
        (["a.mkv", "--start", "5", "--end", "4"], "ends before it begins"),
        (["a.mkv", "--stills", "3"], "--stills are shown in the page that --report names"),
        (["--suite", "paper", "--data", "a", "--stills", "8"], "--stills are shown in the page"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, clip: str, tmp_path: Path, capsys: Captured
) -> None:
    if arguments[:1] == ["a.mkv"]:
        arguments = [clip, *arguments[1:]]
    before = sorted(tmp_path.iterdir())
    assert run(["eval", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_that_is_too_long(clip: str, tmp_path: Path, capsys: Captured) -> None:
    before = sorted(tmp_path.iterdir())
    assert run(["eval", clip, *QUICK, "-o", "q" * 300]) == 4
    assert "this name is longer than its file system takes" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_measures_may_be_listed_with_blanks(clip: str, capsys: Captured) -> None:
    quick = ("--model", "bicubic", "--device", "cpu", "--json")
    assert run(["eval", clip, "--metrics", " ssim_y, psnr_y", *quick]) == 0
    measured = [metric["name"] for metric in json.loads(capsys.readouterr().out)["metrics"]]
    assert measured == ["psnr_y", "psnr_y_pooled", "ssim_y", "seconds"]


@pytest.mark.parametrize("weights", ["clean", "missing.pt"])
def test_bicubic_has_no_weights(weights: str, clip: str, tmp_path: Path, capsys: Captured) -> None:
    before = sorted(tmp_path.iterdir())
    assert run(["eval", clip, *QUICK, "--weights", weights]) == 7
    assert f"error: {weights}: bicubic has no weights" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_what_has_no_value_is_a_dash() -> None:
    scores = (FrameScore(index=0, pts=0, values={"psnr_y": 30.0}),)
    evaluation = Evaluation(
        kind="clip",
        title="t",
        time_base=None,
        metrics=(MetricInfo(name="psnr_y", label="PSNR (Y)", unit="dB"),),
        candidates=(
            Candidate(name="a", label="A", summary={"psnr_y": float("inf")}, frames=scores),
            Candidate(name="b", label="B", summary={}, frames=scores),
        ),
        settings=(),
        notes=("Something.",),
    )
    lines = evaluation_text(Outcome(evaluation).evaluation).splitlines()
    assert lines[0] == "t, 1 frame"
    assert lines[3].split() == ["PSNR", "(Y),", "mean", "of", "frames", "∞", "dB", "-"]
    assert lines[-1] == "note         Something."
