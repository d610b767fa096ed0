"""What `status` says of burn alerts and of a store that is away."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from controlplane.cli import status
from controlplane.cli.alert_lines import burn_table, firing_lines, received_line, received_table, refusal_lines
from controlplane.cli.client import Api, RefusedError
from controlplane.cli.tables import loop_line

NOW = 1_700_000_000.0


def alert(
    severity: str = "page", *, since: float | None = NOW - 720.0, frozen: str = "", frozen_s: float = 0.0
) -> dict[str, Any]:
    summary = f"bert availability_server: burn rate 20 over 1 h and 25 over 5 min, {severity} above 13.4"
    told = {"frozen": frozen, "frozen_since": NOW - frozen_s if frozen else None}
    return {"firing": since is not None, "severity": severity, "since": since, "summary": summary, **told}


def fleet(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"at": NOW, "models": [{"alerts": list(alerts)}]}


def test_nothing_is_said_where_none_fires() -> None:
    assert firing_lines(fleet(alert(since=None))) == ""


def test_pages_come_first_with_how_long_they_fire() -> None:
    lines = firing_lines(fleet(alert("ticket", since=NOW - 7200.0), alert())).splitlines()
    assert lines[0].startswith("[red]page[/] bert availability_server: burn rate 20")
    assert lines[0].endswith("since 12 min")
    assert lines[1].startswith("[yellow]ticket[/]")


def test_many_take_few_lines() -> None:
    lines = firing_lines(fleet(*[alert()] * 40)).splitlines()
    assert len(lines) == 6
    assert lines[-1].startswith("and 35 more alerts")


def test_alerts_that_cannot_be_judged_are_counted_with_a_reason() -> None:
    text = firing_lines(
        fleet(
            alert(since=None, frozen="only 20% was measured", frozen_s=60.0),
            alert(since=None, frozen="only 10% was measured", frozen_s=7200.0),
            alert(since=None),
        )
    )
    assert "2 of 3 alerts cannot be judged, the first since 2 h: only 10% was measured" in text


def test_an_alert_that_fires_on_unmeasured_says_since_when_and_why() -> None:
    first = firing_lines(fleet(alert(frozen="only 10% was measured", frozen_s=300.0))).splitlines()[0]
    assert first.endswith("since 12 min [dim](frozen since 5 min: only 10% was measured)[/]")


def a_loop(**more: Any) -> dict[str, Any]:
    loop = {"last_tick_at": NOW - 3.0, "ticks": 9, "skipped": 0, "problem": "", "unwritten_since": None, "lost": 0}
    loop |= {"leading": True, "leader": "plane-1"}
    return {"at": NOW, "loop": {**loop, **more}, "circuits": []}


def test_a_target_that_is_left_alone_has_a_line() -> None:
    circuits = [{"target": "t0", "failures": 5, "left_s": 42.0}, {"target": "[w]", "failures": 6, "left_s": 0.0}]
    _, first, second = loop_line({**a_loop(), "circuits": circuits}).splitlines()
    assert first == "[yellow]t0[/]: 5 steps in a row found nobody; left alone for another 42 s"
    assert second == "[yellow]\\[w][/]: 6 steps in a row found nobody; the next step tries it"


def test_what_waits_for_the_store_and_what_is_lost_is_said() -> None:
    assert "written" not in loop_line(a_loop())
    away = {"unwritten": 40, "unwritten_since": NOW - 600.0, "unwritten_most_s": 3600.0, "problem": "the disk is full"}
    line = loop_line(a_loop(**away))
    assert "the disk is full" in line
    assert "40 ticks not written[/] since 2023-11-14 22:03:20 UTC (10 min); nothing is carried out" in line
    assert "ticks older than 1 h are lost" in line
    assert "7 ticks lost[/] since the start: that time counts as unmeasured" in loop_line(a_loop(lost=7))


def test_an_alertmanager_that_takes_no_alerts_is_told_with_why_and_since_when() -> None:
    assert refusal_lines({"at": NOW, "refusals": []}) == ""
    refusal = {"url": "http://am:9093", "since": NOW - 600.0, "why": "connection refused"}
    line = refusal_lines({"at": NOW, "refusals": [refusal]})
    assert "http://am:9093 since 2023-11-14 22:03:20 UTC (10 min): connection refused" in line


def received(name: str, severity: str = "page", **more: Any) -> dict[str, Any]:
    usual = {"firing": True, "unheard": False, "starts_at": NOW - 60.0, "ends_at": None, "heard_at": NOW, "summary": ""}
    return {"name": name, "severity": severity, "model": "", **usual, **more}


def test_what_alertmanagers_say_fires_is_one_line_with_severities() -> None:
    assert received_line({"received": [received("Gone", firing=False)], "received_firing": {}}) == ""
    page, quiet = received("ErrorBudgetBurn", model="bert"), received("Watchdog", "info")
    found = {"received": [page, quiet], "received_firing": {"page": 1, "info": 1}}
    assert (
        received_line(found)
        == "Alertmanager: 2 alerts firing (1 page, 1 info): page ErrorBudgetBurn of bert, info Watchdog"
    )
    odd = [received(f"[b]{n}", "") for n in range(4)]
    line = received_line({"received": [page, *odd], "received_firing": {"page": 1, "": 900}})
    assert line.endswith("without severity \\[b]0, without severity \\[b]1 and 898 more: controlplane alerts")


def test_alerts_are_listed_with_what_became_of_them() -> None:
    ended = received("Done", firing=False, ends_at=NOW - 10.0)
    lost = received("Lost", firing=False, unheard=True, heard_at=NOW - 50000.0)
    document = {
        "alerts": [alert("ticket", frozen="only 10% was measured"), alert(since=None)],
        "received": [received("Bad\x1b[31m", "critical"), lost, ended],
        "received_firing": {"critical": 12},
    }
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(burn_table(document), received_table(document))
    burn, rest = out.getvalue().split("From Alertmanagers")
    assert burn.count("bert availability_server") == 1, "what neither fires nor is frozen is left out"
    assert "only 10% was measured" in burn
    lines = rest.splitlines()
    assert lines[2].split()[:6] == ["critical", "Bad", "-", "2023-11-14", "22:12:20", "firing"]
    assert "ended: not heard of since 2023-11-14 08:20:00" in lines[3]
    assert "ended 2023-11-14 22:13:10" in lines[4]
    assert lines[5] == "and 11 more that fire: --limit"


class AwayApi(Api):
    """Knows the fleet; its store answers with a status of its own."""

    def __init__(self, refusal: int) -> None:
        super().__init__("http://127.0.0.1:1")
        self._refusal = refusal

    def get(self, path: str, **_: object) -> Any:
        if path.endswith("/decisions"):
            raise RefusedError(self._refusal, "the database is away")
        return {"fleet": "as it is"}


def test_the_fleet_is_shown_while_the_store_is_away() -> None:
    assert status._look(AwayApi(503)) == ({"fleet": "as it is"}, None, None)


def test_another_refusal_is_told() -> None:
    with pytest.raises(RefusedError):
        status._look(AwayApi(403))
