"""Every alert has a page for whoever is woken by it, which says what the code says."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import typer

from controlplane.cli import slo
from controlplane.cli.main import app
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.domain.failures import FailureClass
from controlplane.publish.alerting.catalogue import BY_NAME, CATALOGUE
from controlplane.publish.alerting.links import DASHBOARDS
from controlplane.publish.dashboards import dashboards
from controlplane.publish.metrics.families import FAMILIES
from controlplane.slo.burn import WORKBOOK
from tests.unit.docs.pages import ROOT, Page, read

FOLDER = ROOT / "docs/runbooks"
HEADINGS = [
    "What it means",
    "What users feel",
    "Look first",
    "What to do",
    "When it ends",
    "Silence it",
    "Do not",
]
LONGEST_LINES = 90
PAGES = {
    alert: read(FOLDER / BY_NAME[alert].runbook) for alert in AlertName if (FOLDER / BY_NAME[alert].runbook).exists()
}

HOW_TO = [
    read(ROOT / "docs/how-to" / name)
    for name in ("alerting.md", "alerts.md", "dashboards.md", "costs.md", "slo-reports.md")
]

of_every_alert = pytest.mark.parametrize("alert", AlertName, ids=str)


def section(page: Page, heading: str) -> str:
    return page.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {text.runbook for text in CATALOGUE}


@of_every_alert
def test_a_page_says_the_same_things_in_the_same_order_and_is_short(alert: AlertName) -> None:
    page = PAGES[alert]
    assert page.text.startswith(f"# {alert.value}\n")
    assert re.findall(r"^## (.+)$", page.prose, re.MULTILINE) == HEADINGS
    assert all(section(page, heading).strip() for heading in HEADINGS)
    assert len(page.text.splitlines()) <= LONGEST_LINES


@of_every_alert
def test_a_page_says_how_urgent_it_is_when_it_fires_and_of_what_there_is_one(alert: AlertName) -> None:
    text = BY_NAME[alert]
    severities = [text.severity.value]
    if alert is AlertName.ERROR_BUDGET_BURN:
        severities = [each.value for each in Severity if each in {window.severity for window in WORKBOOK}]
    after = f"After {words(text.for_s)}" if text.for_s else "At once"
    each = f"each {', '.join(text.labels)}" if text.labels else "all"
    assert f"\nSeverity {' or '.join(severities)}. {after}. One for {each}.\n" in PAGES[alert].text


def words(seconds: float) -> str:
    unit, long_s = ("hour", 3600) if seconds >= 3600 else ("minute", 60)
    many = f"{seconds / long_s:g}"
    return f"{many} {unit}{'' if many == '1' else 's'}"


def titles(dashboard: dict[str, Any]) -> set[str]:
    panels = [*dashboard["panels"], *(inner for panel in dashboard["panels"] for inner in panel.get("panels", ()))]
    return {panel["title"] for panel in panels if panel["type"] != "row"}


@of_every_alert
def test_every_dashboard_and_panel_named_exists(alert: AlertName) -> None:
    made = {str(each["uid"]): titles(json.loads(json.dumps(each))) for each in dashboards()}
    named = section(PAGES[alert], "Look first")
    assert f"`{DASHBOARDS[alert]}`" in named
    found = list(re.finditer(r"`(cp-[\w-]+)`:((?: \*[^*\n]+\*,?)+)", named))
    assert {match[1] for match in found} == set(re.findall(r"`(cp-[\w-]+)`", PAGES[alert].text))
    for match in found:
        assert set(re.findall(r"\*([^*]+)\*", match[2])) <= made[match[1]], match[0]


@pytest.mark.parametrize("page", [*PAGES.values(), *HOW_TO], ids=str)
def test_every_command_is_one_that_can_be_given(page: Page) -> None:
    for line in page.code():
        if not line.startswith("controlplane "):
            continue
        command: Any = typer.main.get_command(app)
        words = ["2" if word == "N" else word for word in shlex.split(line)[1:]]
        while words and hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        if not hasattr(command, "commands"):
            given = command.make_context(line, words).params  # raises where an argument or option is not understood
            if line.startswith("controlplane slo adjust "):
                slo._check_objective(given["kind"], given["model"], given["objective"])
                options = {"--from": "start", "--to": "end", "--bad": "bad", "--id": "withdraws"}
                slo._check_options(given["kind"], {option: given[name] for option, name in options.items()})


@of_every_alert
def test_every_metric_named_is_exported(alert: AlertName) -> None:
    exported = {family.name + ("_total" if family.kind == "counter" else "") for family in FAMILIES}
    assert set(re.findall(r"\bcontrolplane_\w+", PAGES[alert].text)) <= exported


@of_every_alert
def test_a_silence_names_its_own_alert_ends_and_says_why(alert: AlertName) -> None:
    silences = [line for line in PAGES[alert].code() if line.startswith("amtool silence add")]
    assert len(silences) == (0 if alert is AlertName.WATCHDOG else 1)
    labels = {"alertname", *BY_NAME[alert].labels}
    for line in silences:
        assert re.search(rf"\balertname={alert.value}\b", line)
        assert re.search(r"--duration=\d+[mh]\b", line)
        assert re.search(r'--comment="[^"]+"', line)
        assert set(re.findall(r"\s(\w+)=", line)) <= labels


@pytest.mark.parametrize("alert", [AlertName.MODEL_LOAD_FAILED, AlertName.MODEL_FAILING], ids=str)
def test_every_class_of_failure_has_its_remedy(alert: AlertName) -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", section(PAGES[alert], "What to do"), re.MULTILINE)
    assert [row for row in rows if row in set(FailureClass)] == [each.value for each in FailureClass]
