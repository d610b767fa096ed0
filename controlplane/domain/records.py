"""What is handed to the store to be kept, and what it gives back after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.alerts import AlertStates
from controlplane.domain.decision import Decision, Effect
from controlplane.domain.history import AlertEvent, BucketRow, ObjectiveVersion, SketchRow
from controlplane.domain.objectives import Slice
from controlplane.domain.observation import Interval, LatencyInterval, ProbeResult, RatioInterval
from controlplane.domain.startups import Startup
from controlplane.domain.state import PolicyState


@dataclass(frozen=True, slots=True)
class Trace:
    """What was read of one model and is in no closed slice yet: of servers, gateways, probes and a Prometheus.

    `gateways`: those that count requests of it, each by name and since when. `closed_until`: slices that end by then
    are closed; 0: none is.
    """

    servers: tuple[tuple[str, tuple[Interval, ...]], ...] = ()
    latencies: tuple[LatencyInterval, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    ratios: tuple[RatioInterval, ...] = ()
    gateways: tuple[tuple[str, float], ...] = ()
    closed_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Unclosed:
    """What was read and is in no closed slice yet, by model, for a restart."""

    traces: Mapping[str, Trace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TickRecord:
    """All that one tick writes, in one transaction."""

    at: float
    slices: tuple[Slice, ...]
    decisions: tuple[Decision, ...]
    effects: tuple[Effect, ...]
    state: PolicyState
    unclosed: Unclosed = field(default_factory=Unclosed)
    histograms: tuple[BucketRow | SketchRow, ...] = ()
    versions: tuple[ObjectiveVersion, ...] = ()
    alerts: AlertStates = field(default_factory=dict)
    alert_events: tuple[AlertEvent, ...] = ()
    startups: tuple[Startup, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing a person or a program asked of the control plane."""

    at: float
    actor: str
    verb: str
    subject: str
    detail: str
