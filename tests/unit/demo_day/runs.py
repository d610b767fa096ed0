"""Runs of the demo made by hand, and the JSON that the API would show in them."""

from typing import Any

from controlplane.demo.day_plan import BURST, MODELS, SHARED, SLEEPER, Day, compressed_day
from controlplane.demo.follow import Recorder
from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Decision,
    DecisionRecord,
    Outcome,
    ReasonCode,
    Step,
    Target,
)
from controlplane.domain.fleet import Mode

STARTED = 1_700_000_000.0


def record(
    at_s: float, model: str, step: Step, before: int, after: int, binding: ReasonCode = ReasonCode.DEMAND
) -> DecisionRecord:
    """A decision that was carried out in a quarter of a second."""
    at = STARTED + at_s
    target = Target(loaded=after > 0, instances=after)
    decision = Decision(
        f"d-{model}-{at_s:g}", at, model, "triton", Mode.ACT, step, Target(before > 0, before), target, (), binding
    )
    done = Outcome(
        Action(decision.id, model, "triton", step, target, at), ActionStatus.SUCCEEDED, at + 0.25, "done", in_place=True
    )
    return DecisionRecord(decision, at, 0, (done,))


def unit(state: str, ready: int | None, desired: int | None) -> dict[str, Any]:
    """The part of the API's model that the recorder reads."""
    objective = {"indicator": "latency", "budget_left": 0.75, "attainment_low": 0.97}
    return {
        "objectives": [objective],
        "units": [
            {
                "state": {"value": state},
                "instances": {"value": ready},
                "desired_instances": {"value": desired},
                "decision": None,
            }
        ],
    }


def load_second(at_s: float) -> dict[str, Any]:
    """One line of the load generator."""
    return {"t": at_s, "models": {m.name: {"sent": 20, "p50_s": 0.02, "p95_s": 0.1} for m in MODELS}}


def load_result(**failed: int) -> dict[str, Any]:
    """The load generator's result; `failed` requests by model."""
    models = {
        m.name: {
            "sent": 1000,
            "failed": failed.get(m.name, 0),
            "unfinished": 0,
            "wakes_s": [1.5, 2.5] if m.sleeps else [],
            "error_samples": {"unavailable": ["the server went away"]} if failed.get(m.name) else {},
            "p95_s": 0.2,
        }
        for m in MODELS
    }
    return {
        "duration_s": 150.04,
        "requests": 3000,
        "failed": sum(failed.values()),
        "unfinished": 0,
        "requests_while_unloaded": 7,
        "models": models,
    }


def lived_day(
    *, burst: int = 3, after: int = 1, shared: int = 3, sleeps: bool = True, wakes: bool = True, day_s: float = 150
) -> tuple[Recorder, Day]:
    """A day as it should be, or as the arguments spoil it."""
    day = compressed_day(day_s)
    recorder = Recorder([m.name for m in MODELS], STARTED)
    for at_s in range(round(day_s)):
        loaded = at_s < day.last_asked_s + 20 or (wakes and at_s > day.asked_again_s + 2) or not sleeps
        in_burst = day.burst_starts_s + 5 < at_s < day.burst_ends_s
        counts = {BURST.name: burst if in_burst else after if at_s > day.burst_ends_s + 20 else 1, SHARED.name: shared}
        shown = [
            {"name": m.name} | unit("ready", counts[m.name], counts[m.name])
            if m is not SLEEPER
            else {"name": m.name} | unit("ready" if loaded else "unloaded", 1 if loaded else None, int(loaded))
            for m in MODELS
        ]
        if not in_burst and burst > 1 and day.burst_ends_s <= at_s <= day.burst_ends_s + 20:
            shown[0] = {"name": BURST.name} | unit("ready", burst, burst)
        recorder.second(load_second(float(at_s)), {"models": shown})
    return recorder, day
