"""Every alert by Prometheus' own engine: it fires, not just below, it ends, and missing data holds what fires."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import BY_NAME, told
from controlplane.publish.alerting.links import DASHBOARDS
from controlplane.publish.alerting.rules import ALERTING_FILE, RECORDING_FILE, files
from controlplane.publish.alerting.rules.windows import COVERAGE_S
from controlplane.slo.burn import factors
from tests.unit.publish.alerting.rules.histories import HISTORIES, LEAD, STRICT, TICKETS, History, Spell, settings_of
from tests.unit.publish.alerting.rules.promtool import Block, Fires, promtool, write_tests
from tests.unit.publish.alerting.rules.situations import TICKS, blocks, counting, series_of, situations

STEP_S = {Severity.PAGE: 60, Severity.TICKET: 240}
BY_SEVERITY = {Severity.PAGE: HISTORIES, Severity.TICKET: TICKETS}
LINKED = AlertSettings(
    runbooks_url="https://runbooks.example.org", dashboards_url="https://grafana.example.org", console_url="https://c"
)


@pytest.mark.parametrize(
    ("history", "severity"),
    [(history, severity) for severity, histories in BY_SEVERITY.items() for history in histories],
    ids=lambda of: of.name if isinstance(of, History) else of.value,
)
def test_slo_alerts_fires_as_the_history_says(history: History, severity: Severity) -> None:
    fires = [any(since <= step < until for since, until in history.firing) for step in range(len(history))]
    assert history.judged(severity, STEP_S[severity]) == fires


def test_the_rules_fire_as_slo_alerts_does_and_as_every_situation_says(tmp_path: Path) -> None:
    written = [burning(tmp_path / severity.value, severity, histories) for severity, histories in BY_SEVERITY.items()]
    rules = files(settings_of({"bert": [STRICT]}, LINKED))
    (tmp_path / "others").mkdir()
    written.append(
        write_tests(tmp_path / "others" / "test.yml", without_burning(rules), [*blocks(), failed_in_words()], 60)
    )
    (tmp_path / "said").mkdir()
    written.append(write_tests(tmp_path / "said" / "test.yml", only_of(rules, Severity.PAGE), [page_in_words()], 60))
    ran = promtool("test", "rules", *written)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires = {situation.alert for situation in situations() if situation.firing}
    never = {situation.alert for situation in situations() if not situation.firing}
    burn = {AlertName.ERROR_BUDGET_BURN}
    for histories in BY_SEVERITY.values():
        assert {bool(history.firing) for history in histories} == {True, False}
    assert fires | burn == set(AlertName)
    assert set(AlertName) - never - burn == {AlertName.WATCHDOG}


def test_the_rules_are_sound(tmp_path: Path) -> None:
    for name, text in files(settings_of({"bert": [STRICT], "b.2": [STRICT]}, LINKED)).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    ran = promtool("check", "rules", "--lint=all", "--lint-fatal", *tmp_path.iterdir())
    assert ran.returncode == 0, ran.stdout + ran.stderr


def burning(folder: Path, severity: Severity, histories: Sequence[History]) -> Path:
    """All histories at once, each of a model of its own: the alert of one severity, by what was recorded for it."""
    folder.mkdir()
    steps = max(map(len, histories))
    by_model = {f"m{at}": history.lasting(steps) for at, history in enumerate(histories)}
    rules = files(settings_of({model: [history.objective] for model, history in by_model.items()}))
    series: dict[str, Sequence[float | None]] = {}
    fires: Fires = {}
    for model, history in by_model.items():
        series |= history.series(model)
        labels = {names.MODEL: model, names.OBJECTIVE: history.objective.key, names.SEVERITY: severity.value}
        for step, firing in enumerate(history.judged(severity, STEP_S[severity])):
            fires[step] = [*fires.get(step, ()), *([labels] if firing else [])]
    block = Block(severity.value, series, {AlertName.ERROR_BUDGET_BURN: fires}, severity=severity.value)
    return write_tests(folder / "test.yml", only_of(rules, severity), [block], STEP_S[severity])


def only_of(rules: dict[str, str], severity: Severity) -> dict[str, str]:
    """The rules that the burn alerts of one severity are made of: all would take a minute."""
    windows = [of.window for of in factors(STRICT) if of.window.severity is severity]
    recorded = {f"controlplane-slo-{format_duration(w)}" for of in windows for w in (of.long_s, of.short_s)}
    recording, alerting = (yaml.safe_load(rules[name])["groups"] for name in (RECORDING_FILE, ALERTING_FILE))
    own = {names.SEVERITY: severity.value}
    burn = [
        rule
        for group in alerting
        for rule in group["rules"]
        if rule["alert"] == AlertName.ERROR_BUDGET_BURN and own.items() <= rule["labels"].items()
    ]
    return {
        RECORDING_FILE: yaml.safe_dump({"groups": [group for group in recording if group["name"] in recorded]}),
        ALERTING_FILE: yaml.safe_dump({"groups": [{"name": "burn", "rules": burn}]}),
    }


def without_burning(rules: dict[str, str]) -> dict[str, str]:
    """The rules of all other alerts, with the one that they look at."""
    recording, alerting = (yaml.safe_load(rules[name])["groups"] for name in (RECORDING_FILE, ALERTING_FILE))
    for group in alerting:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] != AlertName.ERROR_BUDGET_BURN]
    coverage = [group for group in recording if group["name"] == f"controlplane-slo-{format_duration(COVERAGE_S)}"]
    return {RECORDING_FILE: yaml.safe_dump({"groups": coverage}), ALERTING_FILE: yaml.safe_dump({"groups": alerting})}


def page_in_words() -> Block:
    """All that a page says."""
    burn = History("a page in words", [*LEAD, Spell(30, bad=100)])
    steps = len(burn)
    of = {names.MODEL: "bert", names.OBJECTIVE: STRICT.key}
    labels = ",".join(f'{name}="{value}"' for name, value in of.items())
    decided = (
        f'{names.MODEL_DECISION}{{model="bert",server="t1",step="hold",binding="bounds"}}',
        f'{names.MODEL_DECISION}{{model="bert",server="t0",step="set_instances",binding="demand"}}',
    )
    series = {
        **burn.series("bert"),
        TICKS: counting(steps, 4),
        f"{names.OBJECTIVE_BUDGET_LEFT}{{{labels}}}": [0.25] * steps,
        f"{names.OBJECTIVE_BAD_OF_CAPACITY}_total{{{labels}}}": [*[0.0] * 61, *counting(steps - 61, 50)],
        **{name: [1.0] * steps for name in decided},
    }
    text = {
        "summary": "Model bert burns the error budget of availability_server too fast",
        "description": "The burn rate is 33.3: so many times the speed at which the budget lasts the objective's"
        " window. The objective: 99 % of requests without error over 28 d. A page is due at a burn rate above 13.4 over"
        " 1 h and 5 min or above 5.6 over 6 h and 30 min. Budget left: 25%. Capacity explains 50% of the bad events of"
        " 1 h. Last decisions: t0: set_instances because of demand; t1: hold because of bounds;",
        "runbook_url": "https://runbooks.example.org/ErrorBudgetBurn.md",
        "dashboard_url": "https://grafana.example.org/d/cp-slo?var-model=bert",
        "console_url": "https://c",
    }
    page = {**of, names.SEVERITY: "page"}
    return Block(burn.name, series, annotations={AlertName.ERROR_BUDGET_BURN: (81, page, text)})


def failed_in_words() -> Block:
    """A class of failure, and what to do about it."""
    failed = {names.MODEL: "bert", names.SERVER: "t0", names.CAUSE: "cuda_out_of_memory"}
    load = AlertName.MODEL_LOAD_FAILED
    failed_text = {
        "summary": "Model bert failed to load on server t0: cuda_out_of_memory",
        "description": told(BY_NAME[load].description, failed),
        "runbook_url": "https://runbooks.example.org/ModelLoadFailed.md",
        "dashboard_url": f"https://grafana.example.org/d/{DASHBOARDS[load]}?var-model=bert",
        "console_url": "https://c",
    }
    of_failed = {**failed, names.SEVERITY: "page"}
    series = {TICKS: counting(5), series_of(load.value, failed): [1.0] * 5}
    return Block("a class of failure", series, annotations={load: (3, of_failed, failed_text)})
