"""Alerts that could never fire are told, with what stands in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.cli.main import execute
from controlplane.config import parse_settings
from controlplane.config.notes import notes
from tests.unit.config.test_objectives import SERVERS


def configuration(target: str, window: str = "28d") -> str:
    return (
        f"servers: [{SERVERS['triton']}]\n"
        f"models: [{{name: m, runs_on: [t], objectives: [{{availability: {target}, window: {window}}}]}}]\n"
    )


def told(target: str, window: str = "28d") -> list[str]:
    return list(notes(parse_settings(configuration(target, window), {})))


@pytest.mark.parametrize("target", ["95%", "99%", "99.9%"])
def test_usual_targets_need_no_note(target: str) -> None:
    assert told(target) == []


def test_a_page_that_ninety_percent_could_never_fire_is_told_with_its_repaired_factor() -> None:
    (note,) = told("90%")
    assert note == (
        "model m, availability_server: at 90% the burn rate is at most 10, so the usual factors would need"
        " more than 80% bad events or could not fire at all; page over 1h fires above 8 in place of 13.4"
    )


def test_short_windows_are_told_of_too() -> None:
    (note,) = told("50%", "2h")
    assert "page over 30m fires above 1.6 in place of 2" in note


PROMETHEUS = "prometheus: [{name: slow, url: http://p:9090, interval: 5m, timeout: 10s}]\n"
SERVED = """\
models:
  - {name: m, runs_on: [t], objectives: [{availability: 99%, window: 1d}]}
  - {name: asked, runs_on: [t], objectives: [{ratio: {prometheus: slow, total: a, bad: b}, name: orders, target: 99%}]}
"""


def test_alerts_of_objectives_whose_sources_tell_late_are_told_and_no_others() -> None:
    text = f"{PROMETHEUS}servers: [{SERVERS['triton']}]\n{SERVED}"
    (note,) = notes(parse_settings(text, {}))
    assert note == (
        "model asked, ratio_orders_prometheus: its sources tell up to 5m15s late, so its alerts fire and end that"
        " much later, and go by the last 5m15s in place of 5m"
    )


def test_check_prints_notes_and_calls_the_file_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "controlplane.yaml"
    file.write_text(configuration("90%"), encoding="utf-8")
    assert execute(["check", str(file)]) == 0
    first, note = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ok; ")
    assert note.startswith("note: model m, availability_server")
    assert execute(["check", str(file), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 1
