"""`controlplane mig`: layouts drawn and planned from a file, and every fault of the file at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.cli.main import execute
from controlplane.decide import mig
from tests.unit.config.test_mig_block import MODELS, REST

QUESTION: dict[str, Any] = {
    "gpus": [
        {
            "uuid": "GPU-a",
            "board": "h100-80gb",
            "layout": [{"profile": "1g.10gb", "start": 6, "models": ["small"]}, {"profile": "3g.40gb", "start": 0}],
        },
        {"uuid": "GPU-b", "board": "a30-24gb"},
    ],
    "models": [
        {"name": "small", "demand": 20, "profiles": {"1g.10gb": 10}, "min_memory_gib": 6},
        {"name": "huge", "demand": 5, "profiles": {"whole": 9}, "min_memory_gib": 100},
    ],
}


def written(tmp_path: Path, question: object) -> str:
    file = tmp_path / "question.json"
    file.write_text(json.dumps(question), encoding="utf-8")
    return str(file)


def test_a_plan_is_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mig", "plan", "--input", written(tmp_path, QUESTION), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gpus_used"], told["cost"], told["bound"], told["optimal"]) == (1, 1.0, 1.0, True)
    assert [(gpu["uuid"], gpu["board"]) for gpu in told["layouts"]] == [("GPU-a", "h100-80gb"), ("GPU-b", "a30-24gb")]
    profiles = [[piece["profile"] for piece in gpu["layout"]] for gpu in told["layouts"]]
    assert profiles == [["3g.40gb", "1g.10gb", "1g.10gb"], []]
    assert {(a["model"], a["uuid"], a["profile"], a["capacity"]) for a in told["assignments"]} == {
        ("small", "GPU-a", "1g.10gb", 10.0)
    }
    assert [(step["wave"], step["action"], step["model"]) for step in told["steps"]] == [
        (0, "create", None),
        (1, "start", "small"),
    ]
    assert told["unserved"] == [{"model": "huge", "short": 5.0, "why": "profiles"}]


@pytest.mark.parametrize(
    ("demand", "capacity", "price", "gpus"),
    [(1e9, 1.0, 1, 0), (5, 1e-300, 1, 0), (1e-300, 5, 1, 1)],
)
def test_no_number_is_too_large_or_too_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], demand: float, capacity: float, price: float, gpus: int
) -> None:
    model = {"name": "m", "demand": demand, "profiles": {"1g.10gb": capacity}}
    question = {"gpus": [{"uuid": "a", "board": "h100-80gb", "price": price}], "models": [model]}
    assert execute(["mig", "plan", "--input", written(tmp_path, question), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["gpus_used"] == gpus
    assert told["unserved"] == ([] if gpus else [{"model": "m", "short": demand, "why": "gpus"}])


def test_what_the_solver_prints_is_not_in_the_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = mig.plan

    def noisy(question: mig.MigQuestion) -> mig.MigPlan:
        os.write(1, b"HEkk: a line of the solver\n")
        return quiet(question)

    monkeypatch.setattr(mig, "plan", noisy)
    assert execute(["mig", "plan", "--input", written(tmp_path, QUESTION), "--json"]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["gpus_used"] == 1
    assert "a line of the solver" in told.err


def test_the_planned_layouts_are_the_next_question_and_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(["mig", "plan", "--input", written(tmp_path, QUESTION), "--json"])
    planned = json.loads(capsys.readouterr().out)
    again = {"gpus": planned["layouts"], "models": QUESTION["models"]}
    assert execute(["mig", "plan", "--input", written(tmp_path, again), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["layouts"] == planned["layouts"]
    assert {step["action"] for step in told["steps"]} == {"start"}


def test_yaml_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "question.yaml"
    file.write_text(yaml.safe_dump(QUESTION), encoding="utf-8")
    assert execute(["mig", "plan", "--input", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gpus_used"] == 1


def test_a_plan_is_told_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mig", "plan", "--input", written(tmp_path, QUESTION)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-3:] == [
        "not served: 5/s of huge (profiles)",
        "1 GPU used, cost 1, proved to be the least for what is served",
        "1 slice created or destroyed (the fewest)",
    ]


def test_a_plan_that_serves_nothing_says_that_and_praises_itself_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {"gpus": QUESTION["gpus"][1:], "models": QUESTION["models"][1:]}
    assert execute(["mig", "plan", "--input", written(tmp_path, question)]) == 0
    told = capsys.readouterr().out.splitlines()
    at = told.index("not served: 5/s of huge (profiles)")
    assert told[at + 1] == "no model has a place: no GPU is used"
    assert not any("least" in line or "cost" in line for line in told)


def test_slices_are_drawn_as_wide_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mig", "show", "--input", written(tmp_path, QUESTION)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == [
        "GPU-a      [             3g.40gb              ]········ ········ [1g.10gb]········",
        "h100-80gb  [                                  ]········ ········ [ small ]········",
    ]
    assert len(lines) == 4


def test_what_is_shown_is_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mig", "show", "--input", written(tmp_path, QUESTION), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["gpus"]
    assert first["layout"] == [{"profile": "3g.40gb", "start": 0}, {"profile": "1g.10gb", "start": 6}]
    assert second == {"uuid": "GPU-b", "board": "a30-24gb", "layout": []}


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = {"gpus": [{"uuid": "\x1b[2J[red]x", "board": "a30-24gb"}], "models": []}
    assert execute(["mig", "show", "--input", written(tmp_path, evil)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "[red]x" in told


def test_every_fault_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "gpus": [
            {"uuid": "a", "board": "h100-80g", "price": -1},
            {"uuid": "b", "board": "a30-24gb", "price": 2, "layout": [{"profile": "1g.10gb", "start": 0}]},
            {"uuid": "b", "board": "h100-80gb", "layout": [{"profile": "3g.40gb", "start": 2, "models": ["c"]}]},
            {
                "uuid": "d",
                "board": "h100-80gb",
                "price": 2,
                "layout": [{"profile": "4g.40gb", "start": 0}, {"profile": "1g.10gb", "start": 3}],
            },
        ],
        "models": [
            {"name": "m", "demand": -1, "profiles": {"1g.11gb": 2}},
            {"name": "s", "demand": 1, "profiles": {"1g.10gb": "fast"}, "share": True, "colour": "red"},
            {"name": "t", "demand": 1, "profiles": {"1g.10gb": 1}, "share": True},
        ],
        "more": 1,
    }
    assert execute(["mig", "plan", "--input", written(tmp_path, wrong), "--json"]) == 2
    told = capsys.readouterr().err
    for words in (
        "gpus[0].board: 'h100-80g' is not allowed; did you mean 'h100-80gb'?",
        "gpus[0].price: -1 is not allowed",
        "gpus[1].layout[0].profile: '1g.10gb' is not allowed; on a30-24gb",
        "gpus[2].uuid: 'b' is not allowed; a name that no other has; gpus[1] has it",
        "gpus[2].price: nothing is not allowed; a price for every GPU, or for none",
        "gpus[2].layout[0].start: 2 is not allowed; for 3g.40gb on h100-80gb one of: 0, 4",
        "gpus[2].layout[0].models[0]: 'c' is not allowed",
        "gpus[3].layout[1]: 1g.10gb at 3 is not allowed; what can be beside 4g.40gb at 0",
        "models[0].demand: -1 is not allowed",
        "models[0].profiles.1g.11gb: '1g.11gb' is not allowed; did you mean",
        "models[1].profiles.1g.10gb: 'fast' is not allowed",
        "models[1].colour: this key is not allowed",
        "models[2].min_memory_gib: nothing is not allowed",
        "more: this key is not allowed; ",
    ):
        assert words in told, words
    assert "14 faults" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file: nothing is not allowed"),
        ("[]", "the file: an empty list is not allowed"),
        ("{}", "gpus: nothing is not allowed; a list"),
        ('{"gpus": [], "models": [], "models": []}', "models: 2 of this key is not allowed"),
        ('{"gpus": [], "models": [{"name": "m", "demand": NaN, "profiles": {}}]}', "models[0].demand: nan"),
    ],
)
def test_what_is_no_question_is_a_fault(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "question.json"
    file.write_text(text, encoding="utf-8")
    assert execute(["mig", "plan", "--input", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_nothing_to_plan_is_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mig", "plan", "--input", written(tmp_path, {"gpus": [], "models": []}), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gpus_used"], told["optimal"], told["steps"]) == (0, True, [])


@pytest.mark.parametrize(
    "text", [json.dumps(QUESTION), json.dumps([QUESTION]), "[]", "- uuid: GPU-a", "", "layouts: {}", "no mapping"]
)
def test_what_holds_no_layouts_is_told_with_what_prints_them(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, token = tmp_path / "fleet.json", tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    token.write_text("secret")
    options = ["--agent", "http://127.0.0.1:9", "--token-file", str(token)]
    assert execute(["mig", "apply", "--input", str(file), *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"controlplane: {file}: ")
    assert "what `controlplane mig plan --json` printed" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "show", "apply"])
def test_a_file_that_is_not_there_is_told_in_a_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--agent", "http://a", "--token-file", "t"] if command == "apply" else []
    assert execute(["mig", command, "--input", "/nope.json", *more]) == 2
    assert capsys.readouterr().err == "controlplane: /nope.json: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(("file", "told"), [("missing", "No such file"), (".", "Is a directory"), ("token", "")])
def test_a_token_of_agents_that_cannot_be_read_is_noted(
    file: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("secret\n")
    config = tmp_path / "controlplane.yaml"
    mig = f"mig: {{mode: act, token_file: {tmp_path / file}, {MODELS}}}"
    config.write_text(f"mode: act\n{mig}\n{REST}", encoding="utf-8")
    assert execute(["check", str(config), "--json"]) == 0
    noted = [note for note in json.loads(capsys.readouterr().out)["notes"] if "token_file" in note]
    assert len(noted) == bool(told)
    assert all(note.startswith(f"mig.token_file {tmp_path / file} cannot be read: {told}") for note in noted)
