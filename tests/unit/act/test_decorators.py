from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.domain import names
from controlplane.domain.decision import OF_REPLICAS, Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator


class Recorder:
    """An actuator that remembers what it was asked and fails for one model."""

    def __init__(self) -> None:
        self.applied: list[Action] = []
        self.closed = False
        self.fleet = Fleet((), ())

    async def control_mode(self, server: str) -> ControlMode:
        if server == "away":
            raise TargetUnreachableError(server, "connection refused")
        return ControlMode.NOT_ALLOWED

    async def apply(self, action: Action) -> Outcome:
        self.applied.append(action)
        failed = action.model == "broken"
        return Outcome(action, ActionStatus.FAILED if failed else ActionStatus.SUCCEEDED, 2.0)

    def follow(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def close(self) -> None:
        self.closed = True


def action(step: Step, model: str = "m", instances: int = 3) -> Action:
    return Action("id", model, "triton-0", step, Target(loaded=step is not Step.UNLOAD, instances=instances), 1.0)


@pytest.mark.parametrize("step", list(Step))
async def test_a_dry_run_tells_what_it_would_do_and_does_nothing(step: Step) -> None:
    inner = Recorder()
    dry: Actuator = DryRunActuator(inner, clock=lambda: 7.0)
    outcome = await dry.apply(action(step))
    assert inner.applied == []
    assert outcome.status is ActionStatus.DRY_RUN
    assert outcome.finished_at == 7.0
    assert outcome.detail.startswith("would ")
    assert ("triton-0 to 3 replicas" if step in OF_REPLICAS else "m on triton-0") in outcome.detail
    assert ("3 instances" in outcome.detail) is (step in {Step.LOAD, Step.SET_INSTANCES, Step.RELOAD})


async def test_decorators_pass_reading_and_closing_through() -> None:
    for wrap in (
        lambda inner: DryRunActuator(inner, clock=lambda: 0.0),
        lambda inner: MeteredActuator(inner, CollectorRegistry()),
        lambda inner: RetryingActuator(inner, CollectorRegistry(), clock=lambda: 0.0),
    ):
        inner = Recorder()
        wrapped = wrap(inner)
        assert await wrapped.control_mode("triton-0") is ControlMode.NOT_ALLOWED
        with pytest.raises(TargetUnreachableError):
            await wrapped.control_mode("away")
        await wrapped.close()
        assert inner.closed


async def test_actions_are_counted_by_step_and_status_and_timed_by_step() -> None:
    registry = CollectorRegistry()
    metered = MeteredActuator(Recorder(), registry)
    outcomes = [await metered.apply(action(Step.LOAD, model)) for model in ("m", "m", "broken")]
    assert [outcome.status for outcome in outcomes] == [ActionStatus.SUCCEEDED] * 2 + [ActionStatus.FAILED]

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value(f"{names.ACTIONS}_total", step="load", status="succeeded") == 2
    assert value(f"{names.ACTIONS}_total", step="load", status="failed") == 1
    assert value(f"{names.ACTION_DURATION}_count", step="load") == 3
    assert value(f"{names.ACTIONS}_total", step="unload", status="succeeded") == 0, "so that the first one is growth"
