from typing import Any

from controlplane.api.views.decisions import DecisionRecordView
from controlplane.api.views.fleet import fleet_view
from controlplane.demo.day_plan import MODELS, SLEEPER
from controlplane.demo.follow import Recorder
from controlplane.domain.decision import DecisionRecord, Step
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Known
from tests.unit.demo_day.runs import STARTED, load_second, record

SERVER = ServerSpec("triton", ServerKind.TRITON, "http://h:1", "http://h:3/metrics", "h:2")
FLEET = Fleet((SERVER,), tuple(ModelSpec(m.name, m.name, ("triton",), Mode.ACT) for m in MODELS))


def shown(records: list[DecisionRecord], state: ModelState) -> dict[str, Any]:
    """The fleet as the API really shows it."""
    reading = ModelReading(state, instances=Known(2, STARTED))
    server = ServerReading(
        "triton",
        Known(value=True, observed_at=STARTED),
        Known(ControlMode.EXPLICIT, STARTED),
        1,
        {m.name: Known(reading, STARTED) for m in MODELS},
    )
    world = FleetReading(STARTED, {"triton": server}, {}, {}, Known((), STARTED))
    picture = Picture(STARTED, FLEET, world, decisions=tuple(r.decision for r in records))
    return fleet_view(picture, 60.0, {}).model_dump(mode="json")


def test_a_second_joins_load_and_fleet() -> None:
    recorder = Recorder([m.name for m in MODELS], STARTED)

    recorder.second(load_second(1.0), shown([record(0, SLEEPER.name, Step.SET_INSTANCES, 2, 3)], ModelState.READY))

    point = recorder.points[SLEEPER.name][0]
    assert (point.at_s, point.loaded, point.ready, point.desired) == (1.0, True, 2, 3)
    assert (point.arrivals_per_s, point.p50_s, point.p95_s) == (20, 0.02, 0.1)
    assert point.budget_left is None


def test_a_model_that_is_not_ready_has_no_instances() -> None:
    recorder = Recorder([m.name for m in MODELS], STARTED)
    recorder.second(load_second(1.0), shown([], ModelState.UNLOADED))
    point = recorder.points[SLEEPER.name][0]
    assert (point.loaded, point.ready, point.desired) == (False, 0, None)


def test_each_change_is_told_once_and_its_outcome_follows() -> None:
    recorder = Recorder([m.name for m in MODELS], STARTED)
    first, second = record(10, "a", Step.LOAD, 0, 1), record(20, "a", Step.SET_INSTANCES, 1, 3)
    under_way = DecisionRecord(second.decision, second.last_at, 0)

    def view(*records: DecisionRecord) -> list[dict[str, Any]]:
        return [DecisionRecordView.of_record(r).model_dump(mode="json") for r in records]

    assert [m.step for m in recorder.changes(view(first))] == ["load"]
    assert [(m.step, m.status) for m in recorder.changes(view(under_way, first))] == [("up", "")]
    assert recorder.changes(view(second)) == []
    assert [(m.at_s, m.status) for m in recorder.marks] == [
        (10.0, "succeeded in 0.2 s, in place"),
        (20.0, "succeeded in 0.2 s, in place"),
    ]
