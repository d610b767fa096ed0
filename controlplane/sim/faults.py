"""What goes wrong around a policy, each from a given time on for a given time.

Of what it reads, of the replicas' pages and of the gateway's: values that are NaN, pages that stay as they were, 401,
half of the scrapes missing. Of what it works on: replicas that never become ready, a quota that is reached, the control
plane gone and started anew, load that stops dead. The orchestrator's own list of replicas is always read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from controlplane.sim.signals import Gateway, Missing, Reading, ReplicaSignals, Signals, UnreadReplica, Why
from controlplane.sim.trace import Requests

_HALF = 0.5


class Kind(StrEnum):
    """Kinds of faults, as a person types them."""

    NAN = "nan"
    FROZEN = "frozen"
    REFUSED = "401"
    HALF = "half"
    NEVER_READY = "never-ready"
    QUOTA = "quota"
    RESTART = "restart"
    STOP = "stop"


_WRITTEN = re.compile(r"(?P<kind>[a-z0-9-]+)(:(?P<most>\d+))?@(?P<at>[^+]+)\+(?P<lasts>.+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, from `at_s` on for `lasts_s`. `most`: of a quota, the replicas that may be there."""

    kind: Kind
    at_s: float
    lasts_s: float
    most: int = 0

    def __str__(self) -> str:
        """As a person types it, times in seconds."""
        most = f":{self.most}" if self.kind is Kind.QUOTA else ""
        return f"{self.kind}{most}@{self.at_s:g}s+{self.lasts_s:g}s"

    def is_on(self, now_s: float) -> bool:
        """Whether it is there now."""
        return self.at_s <= now_s < self.at_s + self.lasts_s


def parse_fault(text: str, seconds: Callable[[str], float]) -> Fault:
    """A fault from `frozen@20m+10m` or `quota:25@20m+10m`. Raises ValueError telling what is allowed."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None or match["kind"] not in set(Kind):
        raise ValueError(f"KIND@START+LENGTH such as frozen@20m+10m is allowed; kinds: {', '.join(Kind)}")
    kind = Kind(match["kind"])
    if (kind is Kind.QUOTA) != (match["most"] is not None):
        raise ValueError("a quota has a number of replicas, such as quota:25@20m+10m, and nothing else has one")
    return Fault(kind, seconds(match["at"]), seconds(match["lasts"]), int(match["most"] or 0))


class Disturbance:
    """The faults of one run. Which scrapes are missing is drawn by `seed`."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._rng = np.random.default_rng((seed, len(faults)))
        self._last: Signals | None = None

    @property
    def restarts(self) -> bool:
        """Whether the control plane ever is gone."""
        return any(fault.kind is Kind.RESTART for fault in self._faults)

    def load(self, requests: Requests) -> Requests:
        """The requests that arrive."""
        stopped = np.zeros(len(requests), np.bool_)
        for fault in self._faults:
            if fault.kind is Kind.STOP:
                stopped |= (requests.at_s >= fault.at_s) & (requests.at_s < fault.at_s + fault.lasts_s)
        if not stopped.any():
            return requests
        return Requests(requests.at_s[~stopped], requests.prompt_tokens[~stopped], requests.output_tokens[~stopped])

    def look(self, signals: Signals) -> Reading:
        """What is read of what is there."""
        on = self._on(signals.at_s)
        if Kind.FROZEN not in on or self._last is None:
            self._last = signals
        reading = Reading(signals.at_s, self._last, _pages(self._last, signals))
        if Kind.HALF in on:
            reading = _without(reading, "absent", self._rng.random(1 + len(reading.replicas)) < _HALF)
        if Kind.NAN in on:
            reading = _without(reading, "nan", [True] * (1 + len(reading.replicas)))
        if Kind.REFUSED in on:
            reading = _without(reading, "refused", [True] * (1 + len(reading.replicas)))
        return reading

    def ready_s(self, now_s: float, ready_s: float) -> float:
        """When a replica that starts now takes traffic: inf where it never does."""
        return math.inf if Kind.NEVER_READY in self._on(now_s) else ready_s

    def may_start(self, now_s: float, there: int) -> float:
        """How many more replicas may start now, beside those that there are."""
        quotas = (fault.most for fault in self._faults if fault.kind is Kind.QUOTA and fault.is_on(now_s))
        return max(0.0, min(quotas, default=math.inf) - there)

    def is_down(self, now_s: float) -> bool:
        """Whether the control plane is gone."""
        return Kind.RESTART in self._on(now_s)

    def _on(self, now_s: float) -> set[Kind]:
        return {fault.kind for fault in self._faults if fault.is_on(now_s)}


def _pages(old: Signals, now: Signals) -> tuple[ReplicaSignals | UnreadReplica, ...]:
    """Old pages of the replicas that are there now; those that came since, or started then, have none."""
    if old is now:
        return now.replicas
    known = {replica.id: replica for replica in old.replicas if replica.phase != "starting"}
    return tuple(
        replace(known[replica.id], phase=replica.phase) if replica.id in known else _unread(replica, "absent")
        for replica in now.replicas
    )


def _without(reading: Reading, why: Why, missing: Iterable[bool]) -> Reading:
    """The reading without some of its pages: the gateway's, then those of replicas."""
    gateway_is, *replicas_are = missing
    gateway: Gateway | Missing = Missing(why) if gateway_is else reading.gateway
    replicas = zip(reading.replicas, replicas_are, strict=True)
    return Reading(
        reading.at_s,
        gateway,
        tuple(_unread(replica, why) if is_missing else replica for replica, is_missing in replicas),
    )


def _unread(replica: ReplicaSignals | UnreadReplica, why: Why) -> UnreadReplica:
    return UnreadReplica(replica.id, replica.phase, replica.started_s, replica.ready_s, why)
