"""`controlplane profile`: URL alone measures, import reads exports, and faults are one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.cli.main import execute
from controlplane.config.profile_file import parse_profile

PAGES = Path(__file__).parents[2] / "pages"
PERF_ANALYZER = str(PAGES / "perf-analyzer-documented.csv")
AIPERF = [str(PAGES / f"aiperf-documented-{load}.csv") for load in (1, 16)]
NOBODY = "http://127.0.0.1:9"


def test_an_import_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.yaml"
    assert execute(["profile", "import", PERF_ANALYZER, "--max-batch", "8", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "a batch takes 2 ms + 1 ms for each item, up to 8 of them, at instance count 1" in told
    assert f"written to {out}" in told.replace("\n", "")
    profile, faults = parse_profile(out.read_text(encoding="utf-8"), "profile")
    assert faults == []
    assert profile is not None
    assert profile.measured_at == pytest.approx(Path(PERF_ANALYZER).stat().st_mtime, abs=1)


def test_an_import_of_tokens_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["profile", "import", *AIPERF]) == 0
    assert "for each running request" in capsys.readouterr().out
    assert execute(["profile", "import", *AIPERF, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] is None
    assert document["profile"]["kind"] == "vllm"
    assert document["profile"]["itl_base_s"] == pytest.approx(0.008, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", PERF_ANALYZER], 1, "give --max-batch"),
        (["import", PERF_ANALYZER, "--max-batch", "0"], 2, "--max-batch: 0 is not allowed; at least 1 is allowed"),
        (["import", "nope.csv"], 2, "FILE: nope.csv is not allowed; a readable file is allowed"),
        (["import", PERF_ANALYZER, "--out", "nope/m.yaml"], 2, "--out: nope/m.yaml is not allowed"),
        ([NOBODY, "--model", "m"], 1, f"{NOBODY}: connection refused"),
        (["measure", NOBODY, "--model", "m", "--kind", "vllm"], 1, f"{NOBODY}: connection refused"),
        (["--model", "m", NOBODY], 1, f"{NOBODY}: connection refused"),
        ([NOBODY, "--model", "m", "--kind", "tgi"], 2, "--kind: tgi is not allowed; triton or vllm is allowed"),
        ([NOBODY, "--model", "m", "--seconds-per-point", "0"], 2, "--seconds-per-point: 0 is not allowed"),
        ([NOBODY, "--model", "m", "--token-file", "nope"], 2, "cannot be read"),
        (["ftp://x", "--model", "m"], 2, "URL: ftp://x is not allowed"),
        ([NOBODY], 2, "--model"),
    ],
)
def test_faults_are_one_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["profile", *arguments]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1
