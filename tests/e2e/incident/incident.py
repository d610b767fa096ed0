"""A Triton made slow and repaired, and what people are told of it, on real parts from end to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.demo.rig import TritonRig
from controlplane.domain.objectives import SLICE_S
from tests.e2e.incident.gateway import Gateway
from tests.e2e.incident.settings import GOES_DARK, LLAMA, RECOVERS
from tests.e2e.plane import Plane, until
from tests.prometheus_fixtures import RealPrometheus
from tests.webhook_receiver import WebhookReceiver

LEAD_S = 4.0
"""Good traffic before the fault, at least; to that comes what is left of a slice."""
USUAL_PER_S, AFTER_PER_S, LOAD_PER_S = 8.0, 32.0, 80.0
_PAGED_S, _FROZEN_S, _OVER_S = 90.0, 120.0, 90.0
WAYS = ("prometheus", "direct")
wall_clock = time.time  # noqa: TID251 - real processes live in real time


@dataclass
class Incident:
    """The parts, and when what was seen of them. Moments are unix seconds."""

    rig: TritonRig
    prometheus: RealPrometheus
    planes: dict[str, Plane]
    receiver: WebhookReceiver
    gateways: dict[str, Gateway]
    load: Gateway
    slow: Path
    began_at: float = 0.0
    fault_at: float = 0.0
    good_before: int = 0
    paged_at: dict[str, float] = field(default_factory=dict)
    resolved_at: float = 0.0
    frozen_at: float = 0.0
    ended_at: float = 0.0
    held: list[dict[str, Any]] = field(default_factory=list)
    held_by: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def told(self, way: str, severity: str, model: str) -> list[dict[str, Any]]:
        """What the team was told of a model, in the order in which it came."""
        path = f"/{way}/{severity}"
        found = [post for post in list(self.receiver.posts) if post["path"] == path]
        return [post for post in found if post["groupLabels"].get("model") == model]

    def alerts(self, model: str) -> list[dict[str, Any]]:
        """The pages about a model that fire in Prometheus, as it tells them."""
        found = self.prometheus.alerts()
        return [a for a in found if {"model": model, "severity": "page"}.items() <= a["labels"].items()]

    def play(self) -> None:
        """All of it, in two minutes."""
        plane = self.planes["prometheus"]
        said = {"ttl": "1h", "reason": "a drill"}
        for method, path, body in (
            ("POST", "freezes", {"model": LLAMA}),
            ("PUT", f"models/{GOES_DARK}/instances", {"instances": 1}),
        ):
            status, answer = plane.call(method, path, said | body)
            assert status < 300, answer
        self.began_at = wall_clock()
        for gateway in (*self.gateways.values(), self.load):
            gateway.start()
        time.sleep(LEAD_S)
        time.sleep(SLICE_S - wall_clock() % SLICE_S)
        self.load.per_s = LOAD_PER_S
        self._fault()
        self._repair()
        self.ended_at = wall_clock()

    def _fault(self) -> None:
        """Slow from the begin of a slice on, which is the worst moment: it is told when the slice is over."""
        self.good_before = self.gateways[RECOVERS].answered
        self.slow.touch()
        self.fault_at = wall_clock()
        waiting = [(way, model) for way in WAYS for model in self.gateways]

        def paged() -> bool:
            for way, model in list(waiting):
                if self.told(way, "page", model):
                    waiting.remove((way, model))
                    if model == RECOVERS:
                        self.paged_at[way] = wall_clock()
            return not waiting

        until("both are paged both ways", paged, _PAGED_S, lambda: (waiting, self.prometheus.alerts()))

    def _repair(self) -> None:
        """One gateway's page is gone before the repair, so that nobody sees that its model recovers."""
        self.gateways[GOES_DARK].go_dark()
        self.slow.unlink()
        for gateway in self.gateways.values():
            gateway.per_s = AFTER_PER_S
        until(
            f"{RECOVERS} is over",
            lambda: any(post["status"] == "resolved" for post in self.told("prometheus", "page", RECOVERS)),
            _OVER_S,
            lambda: self.alerts(RECOVERS),
        )
        self.resolved_at = wall_clock()
        self.load.per_s = USUAL_PER_S
        until(f"{GOES_DARK} is frozen", self._frozen, _FROZEN_S, lambda: (self.held, self.held_by))
        self.frozen_at = wall_clock()

    def _frozen(self) -> bool:
        """Both ways: to Prometheus, and to the control planes. What they tell is kept as it was.

        At the edge of its coverage a window that slides over whole slices can be measured enough once more.
        """
        self.held = self.alerts(GOES_DARK)
        self.held_by = {
            way: [alert for alert in plane.get("alerts")["alerts"] if alert["model"] == GOES_DARK]
            for way, plane in self.planes.items()
        }
        told = [float(alert["value"]) == 0.0 for alert in self.held]
        told += [bool(alert["frozen"]) for alerts in self.held_by.values() for alert in alerts]
        return all(told)
