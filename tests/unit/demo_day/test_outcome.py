from typing import Any

import pytest

from controlplane.api.views.decisions import DecisionRecordView
from controlplane.demo.day_plan import BURST, SHARED, SLEEPER
from controlplane.demo.outcome import complaints, figures
from controlplane.domain.decision import ReasonCode, Step
from tests.unit.demo_day.runs import lived_day, load_result, record


def test_a_day_as_it_should_be_gives_no_complaint() -> None:
    recorder, day = lived_day()
    assert complaints(recorder, load_result(), day) == ()


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        ({"burst": 1}, f"{BURST.name} was not scaled up in the burst: 1 instances before, at most 1 in it"),
        ({"after": 3}, f"{BURST.name} was not scaled down after the burst: still 3 instances"),
        ({"shared": SHARED.instances_max}, f"{SHARED.name} rose to its bound of 6 instances"),
        ({"sleeps": False}, f"{SLEEPER.name} was not unloaded though it was idle"),
        ({"wakes": False}, f"{SLEEPER.name} was not loaded again when it was asked for"),
    ],
)
def test_what_did_not_happen_is_told(spoilt: dict[str, Any], complaint: str) -> None:
    recorder, day = lived_day(**spoilt)
    found = complaints(recorder, load_result(), day)
    assert len(found) == 1
    assert found[0].startswith(complaint)


def test_failed_requests_are_told_with_what_the_client_was_told() -> None:
    recorder, day = lived_day()
    assert complaints(recorder, load_result(resnet50_detector=2), day) == (
        "2 requests to resnet50_detector failed: the server went away",
    )


def test_the_figures_have_the_keys_that_programs_rely_on() -> None:
    recorder, _ = lived_day()
    records = [
        record(0, SLEEPER.name, Step.LOAD, 0, 1),
        record(30, BURST.name, Step.SET_INSTANCES, 1, 3),
        record(40, SLEEPER.name, Step.UNLOAD, 1, 0),
        record(60, BURST.name, Step.SET_INSTANCES, 3, 1, ReasonCode.UNDO),
        record(120, SLEEPER.name, Step.LOAD, 0, 1),
    ]
    views = [DecisionRecordView.of_record(r).model_dump(mode="json") for r in reversed(records)]
    recorder.changes(views)

    found = figures(recorder, load_result(bert_classifier=1))

    assert {k: v for k, v in found.items() if k != "models"} == {
        "duration_s": 150.0,
        "requests": 3000,
        "failed": 1,
        "requests_while_unloaded": 7,
        "wake_p95_s": 2.5,
        "decisions": 5,
        "actions": 5,
        "rollbacks": 1,
    }
    assert found["models"][BURST.name].items() >= {"instances_min": 1, "instances_max": 3, "loads": 0}.items()
    assert found["models"][SLEEPER.name].items() >= {"instances_min": 0, "loads": 2, "unloads": 1}.items()
    assert found["models"][SLEEPER.name]["attainment"] == 0.97
