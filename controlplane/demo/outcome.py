"""What came of a run: its figures, and whether the loop worked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from controlplane.demo.day_plan import BURST, MODELS, SHARED, SLEEPER, Day
from controlplane.demo.follow import Recorder, attainment
from controlplane.demo.record import Point


def figures(recorder: Recorder, load: dict[str, Any]) -> dict[str, Any]:
    """The run as JSON values. `load` is the load generator's result.

    `decisions` counts those that changed something, `actions` the steps that succeeded, `rollbacks` the raises that
    were undone. `failed` counts every request that a client did not get answered.
    """
    shown = {model["name"]: model for model in recorder.fleet["models"]}
    wakes = sorted(wake for model in load["models"].values() for wake in model["wakes_s"])
    succeeded = [d for d in recorder.decisions.values() if any(o["status"] == "succeeded" for o in d["outcomes"])]
    return {
        "duration_s": round(load["duration_s"], 1),
        "requests": load["requests"],
        "failed": load["failed"] + load["unfinished"],
        "requests_while_unloaded": load["requests_while_unloaded"],
        "wake_p95_s": _p95(wakes),
        "models": {
            model: {
                "instances_min": min(_ready(points), default=None),
                "instances_max": max(_ready(points), default=None),
                "loads": sum(d["model"] == model and d["step"] in ("load", "reload") for d in succeeded),
                "unloads": sum(d["model"] == model and d["step"] == "unload" for d in succeeded),
                "attainment": attainment(shown[model]),
                "p95_s": load["models"][model]["p95_s"],
                "requests": load["models"][model]["sent"],
            }
            for model, points in recorder.points.items()
        },
        "decisions": len(recorder.marks),
        "actions": len(succeeded),
        "rollbacks": sum(d["binding"] == "undo" for d in recorder.decisions.values()),
    }


def complaints(recorder: Recorder, load: dict[str, Any], day: Day) -> tuple[str, ...]:
    """What did not happen that should have; empty when the loop worked."""
    found = []
    burst, shared, sleeper = (recorder.points[model.name] for model in (BURST, SHARED, SLEEPER))
    before = max(_ready(p for p in burst if p.at_s < day.burst_starts_s), default=0)
    peak = max(_ready(p for p in burst if day.burst_starts_s <= p.at_s <= day.burst_ends_s), default=0)
    if peak <= before:
        found.append(f"{BURST.name} was not scaled up in the burst: {before} instances before, at most {peak} in it")
    elif not any(count < peak for count in _ready(p for p in burst if p.at_s > day.burst_ends_s)):
        found.append(f"{BURST.name} was not scaled down after the burst: still {peak} instances")
    highest = max(_ready(shared), default=0)
    if highest >= SHARED.instances_max:
        found.append(f"{SHARED.name} rose to its bound of {highest} instances though the shared GPU gives no more")
    slept = [p.at_s for p in sleeper if p.loaded is False and day.last_asked_s < p.at_s < day.asked_again_s]
    if not slept:
        found.append(f"{SLEEPER.name} was not unloaded though it was idle")
    elif not any(p.loaded for p in sleeper if p.at_s > day.asked_again_s):
        found.append(f"{SLEEPER.name} was not loaded again when it was asked for")
    for model in MODELS:
        went_wrong = load["models"][model.name]
        if wrong := went_wrong["failed"] + went_wrong["unfinished"]:
            said = "; ".join(message for samples in went_wrong["error_samples"].values() for message in samples[:1])
            found.append(f"{wrong} requests to {model.name} failed: {said or 'not answered in time'}")
    return tuple(found)


def _ready(points: Iterable[Point]) -> list[int]:
    return [p.ready for p in points if p.ready is not None]


def _p95(ordered: Sequence[float]) -> float | None:
    return round(ordered[math.ceil(0.95 * len(ordered)) - 1], 3) if ordered else None
