"""Open files and connections: as many as the system allows, and whether those are enough for a fleet."""

from __future__ import annotations

import resource

from controlplane.domain.fleet import Fleet

_AT_ONCE = 3 * (4 * 64 + 64)
"""Connections of a round: those that began to hang are read beside 64 others, a Triton with three requests."""
_OWN = 256
"""For the store, the API and its clients, discovery and libraries."""


def raise_limit() -> int:
    """Allow this process as many open descriptors as it may allow itself; gives how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def needed(fleet: Fleet) -> int:
    """Descriptors that a fleet may need: a channel to each server that has gRPC stays open."""
    return _OWN + _AT_ONCE + sum(bool(server.grpc) for server in fleet.servers)


def too_few(limit: int, fleet: Fleet) -> bool:
    """Whether a fleet may need more than are allowed."""
    return limit != resource.RLIM_INFINITY and limit < needed(fleet)
