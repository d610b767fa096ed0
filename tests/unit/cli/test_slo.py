from __future__ import annotations

from typing import Any

import pytest

from controlplane.cli import slo
from controlplane.cli.main import execute
from controlplane.cli.slo_tables import adjustment_text


def test_models_with_the_least_budget_left_come_first() -> None:
    def stands(model: str, left: float | None) -> dict[str, Any]:
        return {"model": model, "budget_left": left}

    standings = [stands("a", 0.9), stands("b", 0.5), stands("b", -2.0), stands("c", None), stands("d", 0.1)]
    assert slo._by_budget(standings) == ["b", "d", "a", "c"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bert", "events", "--bad", "-3"), "give --objective OBJECTIVE"),
        (("*", "events", "--bad", "-3", "--objective", "latency"), "name the one MODEL"),
        (("*", "exclude", "--objective", "latency"), "name the one MODEL"),
    ],
)
def test_a_correction_of_no_objective_is_refused_by_the_names_of_its_options(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    span = ("--from", "2026-11-22T09:00Z", "--to", "2026-11-22T10:00Z", "--reason", "x")
    assert execute(["slo", "adjust", *arguments, *span]) == 2
    assert says in capsys.readouterr().err


def test_corrections_are_told_in_words() -> None:
    made = {"kind": "exclude", "start": 0.0, "end": 5400.0, "bad": 0, "withdraws": ""}
    assert adjustment_text(made) == "left out 1970-01-01 00:00 to 1970-01-01 01:30"
    assert adjustment_text(made | {"kind": "events", "bad": -1200}).startswith("-1,200 bad events 1970")
    assert adjustment_text(made | {"kind": "withdraw", "withdraws": "ad-1"}) == "takes ad-1 back"
