"""What `status` says below its tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from controlplane.cli.tables import decisions_table, models_table, servers_table

KNOWN = {"state": "known", "value": 1, "age_s": 0.0, "why": ""}
KEYS = ("state", "instances", "desired_instances", "demand_per_s", "capacity_per_s", "pending")
UNIT = {"server": "t0", "decision": None, "in_flight": None, **dict.fromkeys(KEYS, KNOWN)}
MODEL = {"name": "bert", "mode": "act", "instances_min": 1, "instances_max": 4}


def below(**changes: object) -> list[str]:
    """The lines below the table of models."""
    parts = models_table([MODEL | {"units": [UNIT | changes]}]).renderables  # type: ignore[union-attr]
    return [str(part) for part in parts[1:]]


def test_nothing_is_said_where_all_is_known() -> None:
    assert below(probe_failure=None) == []


def test_what_is_missing_is_said_with_its_reason() -> None:
    missing = {"state": "missing", "value": None, "age_s": None, "why": "refused"}
    assert below(pending=missing, demand_per_s=missing) == ["[dim]bert on t0: demand, pending: refused[/]"]


def test_servers_that_lack_the_same_share_a_line() -> None:
    missing = {"state": "missing", "value": None, "age_s": None, "why": "not learned yet"}
    units = [UNIT | {"server": f"t{n}", "capacity_per_s": missing} for n in range(5)]
    parts = models_table([MODEL | {"units": [*units, UNIT | {"server": "t9", "pending": missing}]}]).renderables  # type: ignore[union-attr]
    assert [str(part) for part in parts[1:]] == [
        "[dim]bert on t0, t1, t2 and 2 more: capacity: not learned yet[/]",
        "[dim]bert on t9: pending: not learned yet[/]",
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_the_age_of_a_models_state_is_shown_in_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(highlight=False, width=width)
    monkeypatch.setattr("controlplane.cli.tables.console", lambda: console)
    unit = UNIT | {"server": f"pool/{'a-pod-of-a-deployment' * 2}", "state": KNOWN | {"value": "ready", "age_s": 3.0}}
    with console.capture() as shown:
        console.print(models_table([MODEL | {"units": [unit]}]))
    lines = shown.get().splitlines()
    assert any("3 s ago" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_failing_probe_is_said_with_its_class_and_remedy() -> None:
    failure = {"message": "no [stub]", "failure": "backend", "remedy": "reload it"}
    (line,) = below(probe_failure=failure)
    assert line == r"[red]bert on t0: the probe failed: no \[stub] \[backend; reload it][/]"


def test_the_name_of_a_server_that_is_not_known_is_whole_in_80_columns() -> None:
    missing = {"state": "missing", "value": None, "age_s": None, "why": "not told of by the Prometheus that scrapes it"}
    name = "llama/llama-vllm-7d9f8b6c5d-x2x4z"
    server = {"name": name, "kind": "vllm", "phase": None, "live": missing, "incarnation": 0, "read_age_s": None}
    console = Console(width=80, file=io.StringIO())
    console.print(servers_table([server | {"control": missing | {"why": "observed only"}}]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{name}  vllm" in printed
    assert f"{name}: not told of" in printed


def test_a_server_that_does_not_answer_says_why() -> None:
    signal = {"state": "known", "value": False, "age_s": 1.0, "why": ""}
    server = {"name": "t0", "kind": "vllm", "phase": None, "live": signal, "incarnation": 0, "read_age_s": None}
    server |= {"control": {"state": "missing", "value": None, "age_s": None, "why": "observed only"}}
    console = Console(width=120, file=io.StringIO())
    console.print(servers_table([server | {"problem": "t0 metrics page: connection refused"}]))
    console.print(servers_table([server | {"live": signal | {"state": "missing", "age_s": None, "why": "never read"}}]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "t0: metrics page: connection refused" in printed
    assert "t0: never read" in printed
    assert "observed only" in printed


@pytest.mark.parametrize(("asked", "told"), [(True, "1 -> 3 instances (by request)"), (False, "1 -> 3 instances")])
def test_a_step_that_somebody_asked_for_is_marked_so_whether_a_person_or_a_gateway_did(asked: bool, told: str) -> None:
    decision = {"id": "d-1", "at": 0.0, "model": "bert", "server": "t0", "headline": "1 -> 3 instances"}
    decision |= {"by_person": asked, "step": "set_instances", "actionable": True, "outcomes": [], "effect": None}
    console = Console(width=160, file=io.StringIO())
    console.print(decisions_table([decision]))
    (line,) = (line for line in console.file.getvalue().splitlines() if "bert" in line)  # type: ignore[attr-defined]
    assert line.split("t0")[1].split("under way")[0].strip() == told
