from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.failures import FailureClass
from controlplane.publish.alerting.catalogue import BY_NAME, CATALOGUE, REMEDIES, AlertText, template, told
from controlplane.publish.alerting.rules.reference import reference

ROOT = Path(__file__).parents[4]
of_every_alert = pytest.mark.parametrize("text", CATALOGUE, ids=lambda text: text.alert.value)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)(?:\?[^{}]*)?\}", text))


def test_every_alert_stands_there_once() -> None:
    assert [text.alert for text in CATALOGUE] == list(dict.fromkeys(text.alert for text in CATALOGUE))
    assert set(BY_NAME) == set(AlertName)


@of_every_alert
def test_a_summary_holds_labels_alone_and_nothing_that_changes(text: AlertText) -> None:
    assert placeholders(text.summary) == set(text.labels)
    assert placeholders(text.description) <= {*text.labels, "value", "remedy"}
    assert set(text.labels) <= set(Condition.__dataclass_fields__)
    assert "remedy" not in placeholders(text.description) or names.CAUSE in text.labels
    assert text.description.endswith(".")
    assert not text.summary.endswith(".")
    assert text.runbook == f"{text.alert.value}.md"


def test_what_wakes_somebody_is_little() -> None:
    assert {text.alert for text in CATALOGUE if text.severity is Severity.PAGE} == {
        AlertName.ERROR_BUDGET_BURN,
        AlertName.MODEL_LOAD_FAILED,
        AlertName.MODEL_FAILING,
        AlertName.SERVER_DOWN,
        AlertName.CONTROL_PLANE_DOWN,
        AlertName.CONTROL_PLANE_NOT_LEADING,
        AlertName.STORE_FAILING,
    }


def test_every_class_of_failure_has_a_remedy_and_an_unknown_one_that_of_unknown() -> None:
    assert set(REMEDIES) == set(FailureClass)
    text = "{cause}: {remedy}."
    assert told(text, {names.CAUSE: "timeout"}) == f"timeout: {REMEDIES[FailureClass.TIMEOUT]}."
    assert told(text, {names.CAUSE: "new"}) == f"new: {REMEDIES[FailureClass.UNKNOWN]}."


def test_what_is_not_there_is_empty_and_a_value_is_told_in_three_digits() -> None:
    assert told("{model}/{server}: {value}", {names.MODEL: "bert"}, 14.3999) == "bert/: 14.4"
    assert told("{value}", {}) == "unknown"
    assert template("{model}: {value}").startswith("{{ $labels.model }}: {{ if or (ge $value 100.0)")


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6, "1000"), (1000.0, "1000"), (99.96, "100"), (-1234.5, "-1234"), (0.05, "0.05"), (0.0, "0")],
)
def test_a_value_of_four_digits_is_told_without_an_exponent(value: float, text: str) -> None:
    assert told("{value}", {}, value) == text


def test_a_gpu_of_the_own_machine_is_told_without_a_node() -> None:
    summary = BY_NAME[AlertName.GPU_ECC].summary
    assert told(summary, {names.GPU: "GPU-1"}) == "GPU GPU-1 has uncorrected memory errors"
    assert told(summary, {names.GPU: "GPU-1", names.NODE: "n"}) == "GPU GPU-1 of node n has uncorrected memory errors"
    assert template("{gpu}{node? of node }") == "{{ $labels.gpu }}{{ with $labels.node }} of node {{ . }}{{ end }}"


def test_every_alert_has_its_runbook() -> None:
    pages = {page.name for page in (ROOT / "docs/runbooks").glob("*.md")}
    assert {text.runbook for text in CATALOGUE} <= pages


def test_the_reference_is_what_the_code_makes_of_it() -> None:
    page = (ROOT / "docs/reference/alerts.md").read_text(encoding="utf-8")
    assert page == reference(), "run python -m controlplane.publish.alerting.rules.reference > docs/reference/alerts.md"
