"""Signals made by hand for tests of policies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from controlplane.sim.peers.policy import History
from controlplane.sim.signals import (
    ITL_EDGES_S,
    TTFT_EDGES_S,
    Gateway,
    Missing,
    Phase,
    Reading,
    ReplicaSignals,
    UnreadReplica,
    Why,
)

NONE = ReplicaSignals(
    id=0,
    phase="ready",
    started_s=0.0,
    ready_s=0.0,
    running=0,
    waiting=0,
    arrived=0,
    completed=0,
    outstanding_s=0.0,
    busy_s=0.0,
    kv_used_share=0.0,
    ttft_counts=np.zeros(len(TTFT_EDGES_S) + 1, np.int64),
    itl_counts=np.zeros(len(ITL_EDGES_S) + 1, np.int64),
)


def pod(id_: int, running: int = 0, phase: Phase = "ready", **fields: Any) -> ReplicaSignals:
    return replace(NONE, id=id_, running=running, phase=phase, **fields)


def pods(*running: int, starting: int = 0) -> tuple[ReplicaSignals, ...]:
    """Ready pods with so many requests each, and some that start."""
    made = [pod(id_, requests) for id_, requests in enumerate(running)]
    return (*made, *(pod(len(running) + n, phase="starting") for n in range(starting)))


def unread(id_: int, phase: Phase = "ready", why: Why = "absent") -> UnreadReplica:
    return UnreadReplica(id_, phase, 0.0, 0.0, why)


def read(
    at_s: float, replicas: Iterable[ReplicaSignals | UnreadReplica] = (), *, arrived: int = 0, queued: int = 0
) -> Reading:
    gateway = Gateway(queued=queued, arrived=arrived, completed=0, retried=0)
    return Reading(at_s, gateway, tuple(replicas))


def unread_gateway(at_s: float, replicas: Iterable[ReplicaSignals | UnreadReplica], why: Why) -> Reading:
    return Reading(at_s, Missing(why), tuple(replicas))


def history(*signals: Reading) -> History:
    made = History()
    for one in signals:
        made.add(one)
    return made


def counts(edges: tuple[float, ...], **at: int) -> Any:
    """Counts by the index of their bucket, such as b3=10."""
    made = np.zeros(len(edges) + 1, np.int64)
    for name, number in at.items():
        made[int(name[1:])] = number
    return made
