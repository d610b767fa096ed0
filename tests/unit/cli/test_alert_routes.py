"""check tells which alerts go to whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.cli.main import execute
from tests.unit.config.test_alerts import FLEET, FULL, TEAMS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "controlplane.yaml"
    file.write_text(FLEET + FULL, encoding="utf-8")
    return file


def test_each_team_is_shown_with_what_it_is_told_and_where(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", str(config)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "team told of page ticket info" in lines
    assert "platform resnet, all else pagerduty, opsgenie slack #ml email ml@example.org" in lines
    assert any(line.startswith("vision bert opsgenie https://api.eu.opsgenie.com") for line in lines)


def test_a_program_gets_the_same(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", str(config), "--json"]) == 0
    platform, vision = json.loads(capsys.readouterr().out)["routes"]
    assert platform == {
        "team": "platform",
        "models": ["resnet"],
        "all_else": True,
        "page": ["pagerduty", "opsgenie"],
        "ticket": ["slack #ml"],
        "info": ["email ml@example.org"],
    }
    assert (vision["models"], vision["all_else"]) == (["bert"], False)
    assert vision["page"] == vision["info"] == ["opsgenie https://api.eu.opsgenie.com"]


def test_a_team_that_is_told_of_nothing_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "controlplane.yaml"
    file.write_text(f'{FLEET}alerts:{TEAMS}    - {{name: idle, page: [{{webhook: "http://h"}}]}}\n', encoding="utf-8")
    assert execute(["check", str(file)]) == 0
    assert "note: team idle is told of nothing" in capsys.readouterr().out
