"""Follows a run: joins each second of load with what the control plane's API shows then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from controlplane.demo.record import Mark, Point


class Recorder:
    """Collects points and marks by model. `started_at` is the moment (unix seconds) at which the load began."""

    def __init__(self, models: Sequence[str], started_at: float) -> None:
        self.points: dict[str, list[Point]] = {model: [] for model in models}
        self.marks: list[Mark] = []
        self.decisions: dict[str, dict[str, Any]] = {}
        self.fleet: dict[str, Any] = {"models": []}
        self._started_at = started_at

    def second(self, load: Mapping[str, Any], fleet: dict[str, Any]) -> None:
        """Adds one second: the load generator's line and the fleet as the API shows it."""
        self.fleet = fleet
        shown = {model["name"]: model for model in fleet["models"]}
        for model, points in self.points.items():
            window = load["models"].get(model, {})
            points.append(_point(float(load["t"]), window, shown[model]))

    def changes(self, decisions: Sequence[dict[str, Any]]) -> list[Mark]:
        """Takes the newest decisions that changed something (newest first) and gives those not seen before."""
        known = {mark.id for mark in self.marks}
        self.decisions |= {d["id"]: d for d in reversed(decisions) if d["actionable"]}
        self.marks = [self._mark(decision) for decision in self.decisions.values()]
        return [mark for mark in self.marks if mark.id not in known]

    def explained(self, lines: Mapping[str, Sequence[str]]) -> None:
        """Adds what `explain` says to the marks, by decision id."""
        self.marks = [replace(mark, lines=tuple(lines.get(mark.id, ()))) for mark in self.marks]

    def _mark(self, decision: dict[str, Any]) -> Mark:
        outcomes = decision["outcomes"]
        return Mark(
            at_s=decision["at"] - self._started_at,
            id=decision["id"],
            model=decision["model"],
            step=_kind(decision),
            headline=decision["headline"],
            status=", then ".join(_came_of(outcome) for outcome in outcomes),
        )


def _kind(decision: dict[str, Any]) -> str:
    """The step, and for a change of instances its direction."""
    step, current, target = decision["step"], decision["current"], decision["target"]
    if step != "set_instances" or current is None or target is None:
        return str(step)
    return "up" if target["instances"] > current["instances"] else "down"


def _came_of(outcome: dict[str, Any]) -> str:
    seconds = outcome["finished_at"] - outcome["issued_at"]
    words = [f"{outcome['status']} in {seconds:.1f} s"]
    if outcome["in_place"] is not None:
        words.append("in place" if outcome["in_place"] else "by a reload")
    if outcome["failure"]:
        words.append(f"{outcome['detail']}; {outcome['remedy']}")
    return ", ".join(words)


def _point(at_s: float, window: Mapping[str, Any], model: dict[str, Any]) -> Point:
    unit = model["units"][0]
    state = unit["state"]["value"]
    loaded = None if state is None else state == "ready"
    latency = _latency(model)
    return Point(
        at_s=at_s,
        loaded=loaded,
        ready=0 if loaded is False else unit["instances"]["value"],
        desired=unit["desired_instances"]["value"],
        arrivals_per_s=window.get("sent"),
        p50_s=window.get("p50_s"),
        p95_s=window.get("p95_s"),
        budget_left=latency["budget_left"] if latency else None,
    )


def _latency(model: dict[str, Any]) -> dict[str, Any] | None:
    return next((o for o in model["objectives"] if o["indicator"] == "latency"), None)


def attainment(model: dict[str, Any]) -> float | None:
    """The share of requests inside the latency objective, as the control plane judged it last."""
    latency = _latency(model)
    return None if latency is None else latency["attainment_low"]
