"""Tables in narrow terminals."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from controlplane.cli import tables
from controlplane.cli.slo_tables import standings_table
from controlplane.cli.tables import new_table

NAME = "bert-classifier-multilingual-2"
"""30 characters."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def lines(*rows: tuple[str, ...], headings: tuple[str, ...]) -> list[str]:
    table = new_table("", *headings)
    for row in rows:
        table.add_row(*row)
    console = Console(width=80, file=io.StringIO())
    with console.capture() as shown:
        console.print(table)
    found = [line.rstrip() for line in shown.get().splitlines()]
    assert max(map(len, found)) <= 80
    return found


def test_names_stay_whole_and_figures_break_between_words_only() -> None:
    figures = ("98.123%-99.456%", "-1234.5% for 8 h 20 min", "12/0.12", "99.9%")
    found = lines((NAME, *figures), headings=("model", "attained", "budget", "burn", "measured"))
    assert found[1].startswith(f"{NAME} 98.123%-99.456% -1234.5% for")
    assert {word for line in found[2:] for word in line.split()} <= set(" ".join(figures).split())


def test_names_for_which_there_is_no_room_fold_where_they_are_joined() -> None:
    row = (f"{NAME}\n pool/triton-7f6b9c4d8-x2x4q", *["unavailable"] * 5)
    found = lines(row, headings=("model\n server", *"abcde"))
    assert [line[:20].rstrip() for line in found[2:]] == [
        "bert-classifier-",
        "multilingual-2",
        " pool/triton-",
        "7f6b9c4d8-x2x4q",
    ]
    assert found[2].split()[1:] == ["unavailable"] * 5


def test_a_name_without_any_joint_is_folded_and_nothing_is_lost() -> None:
    found = lines(("x" * 100, "kept"), headings=("model", "promise"))
    assert "".join(found[1:]).replace("kept", "").count("x") == 100


def test_markup_from_elsewhere_stays_text() -> None:
    found = lines((tables.escape("[red]:smile:[/]"), "a"), headings=("model", "b"))
    assert found[1].split()[0] == "[red]:smile:[/]"


def test_a_report_keeps_names_whole_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    standing = {
        "model": NAME,
        "objective": "latency_100ms_gateway",
        "promise": "no_events",
        "attainment_low": 0.98123,
        "attainment_high": 0.99456,
        "target": 0.9995,
        "budget_left": -12.345,
        "exhausted_1h_s": 30000.0,
        "exhausted_6h_s": None,
        "unsure": 1,
        "burn_1h": 12.3,
        "burn_6h": 0.12,
        "coverage": 0.999,
        "period": None,
        "since": 0.0,
        "until": 28 * 86400.0,
    }
    tables.show(standings_table([standing]))
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{NAME} ") for line in told)
    assert any(line.startswith(" latency_100ms_gateway ") for line in told)
    assert max(map(len, told)) == 80, "COLUMNS holds in a pipe too"


def test_without_columns_a_pipe_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    assert tables.console().width == 160
    monkeypatch.setenv("COLUMNS", "100")
    assert tables.console().width == 100
