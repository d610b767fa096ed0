"""What the load generator saw: counts, latencies by second, failures with samples, and the page of a gateway."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import prometheus_client

BUCKETS_S = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
)  # fmt: skip
QUANTILES = (0.5, 0.95, 0.99)

_WINDOWS_KEPT = 7200
_WAKES_KEPT = 1000
_SAMPLES_KEPT = 3
_CLASSES_KEPT = 20
_GROWTH = 1.02


class GatewayPage:
    """The metrics a gateway would export: request durations and counts by model and HTTP status code."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._duration = prometheus_client.Histogram(
            "gateway_request_duration_seconds",
            "Time from a request's arrival at the gateway to its answer.",
            ["model", "code"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._requests = prometheus_client.Counter(
            "gateway_requests", "Requests answered.", ["model", "code"], registry=self.registry
        )
        self._unloaded = prometheus_client.Counter(
            "gateway_requests_while_unloaded",
            "Requests that found their model not loaded.",
            ["model"],
            registry=self.registry,
        )

    def expect(self, model: str) -> None:
        """Shows a model's series at zero before its first request."""
        self._duration.labels(model, "200")
        self._requests.labels(model, "200")
        self._unloaded.labels(model)

    def answered(self, model: str, code: str, latency_s: float) -> None:
        """Counts one answered request."""
        self._duration.labels(model, code).observe(latency_s)
        self._requests.labels(model, code).inc()

    def found_unloaded(self, model: str) -> None:
        """Counts one request that found its model not loaded."""
        self._unloaded.labels(model).inc()


class LatencySketch:
    """Counts in buckets that grow by 2 %: quantiles within 1 % in bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, latency_s: float) -> None:
        """Adds one latency in seconds."""
        self._counts[math.floor(math.log(max(latency_s, 1e-6)) / math.log(_GROWTH))] += 1

    def quantile(self, q: float) -> float | None:
        """The q-quantile in seconds (nearest rank); None when nothing was added."""
        rank = math.ceil(q * self._counts.total())
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return float(_GROWTH ** (bucket + 0.5))
        return None


@dataclass(slots=True)
class ModelRecord:
    """One model's figures. `sent` counts arrivals, each of which ends as ok or failed, or is still in flight."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    while_unloaded: int = 0
    wakes_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WAKES_KEPT))
    errors: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    latency: LatencySketch = field(default_factory=LatencySketch)
    windows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_WINDOWS_KEPT))
    _second: list[float] = field(default_factory=list)
    _before: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and are not answered yet."""
        return self.sent - self.ok - self.failed

    def succeeded(self, latency_s: float) -> None:
        """Counts a request that was answered rightly, with its latency in seconds."""
        self.ok += 1
        self.latency.add(latency_s)
        self._second.append(latency_s)

    def went_wrong(self, kind: str, message: str) -> None:
        """Counts a failed request under its class, and keeps a few different messages of each class."""
        self.failed += 1
        if kind not in self.samples and len(self.samples) >= _CLASSES_KEPT:
            kind = "other"
        self.errors[kind] += 1
        samples = self.samples.setdefault(kind, [])
        if len(samples) < _SAMPLES_KEPT and message[:300] not in samples:
            samples.append(message[:300])

    def close_second(self, at_s: float, rate_per_s: float) -> dict[str, Any]:
        """Ends the current window of one second and gives it: its counts, and quantiles of what it answered."""
        now = (self.sent, self.ok, self.failed, self.while_unloaded)
        sent, ok, failed, unloaded = (new - old for new, old in zip(now, self._before, strict=True))
        window = {
            "t": round(at_s, 3),
            "rate_per_s": round(rate_per_s, 3),
            "sent": sent,
            "ok": ok,
            "failed": failed,
            "while_unloaded": unloaded,
            "in_flight": self.in_flight,
            **quantiles(self._second),
        }
        self._before, self._second = now, []
        self.windows.append(window)
        return window

    def summary(self) -> dict[str, Any]:
        """All figures of the model as JSON values; latencies in seconds, None where there were none."""
        return {
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "while_unloaded": self.while_unloaded,
            "unfinished": self.in_flight,
            "wakes_s": [round(wake, 3) for wake in self.wakes_s],
            "errors": dict(self.errors),
            "error_samples": self.samples,
            **{_name(q): self.latency.quantile(q) for q in QUANTILES},
            "windows": list(self.windows),
        }


def quantiles(latencies_s: Iterable[float]) -> dict[str, float | None]:
    """p50_s, p95_s and p99_s (nearest rank) of some latencies; None each when there are none."""
    ordered = sorted(latencies_s)
    if not ordered:
        return {_name(q): None for q in QUANTILES}
    return {_name(q): round(ordered[max(0, math.ceil(q * len(ordered)) - 1)], 5) for q in QUANTILES}


def _name(q: float) -> str:
    return f"p{q * 100:.0f}_s"
