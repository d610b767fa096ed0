"""What a cluster tells of the replicas of a workload, beside the servers that there are, and how they leave."""

from __future__ import annotations

from dataclasses import dataclass

OFF = "off"
"""What the label of a drain says on a pod that was taken out of traffic; another value is somebody else's doing."""

TAKEN_FROM = "controlplane/taken-from"
"""Annotation of such a pod: the label, as KEY=VALUE, that it had. By it what was taken out of traffic is known and put
back, though nobody is told any more that replicas leave so."""

IN_ORDER = frozenset({"StatefulSet"})
"""Kinds whose last replicas go first, whatever they do."""
DRAINED = frozenset({"Deployment"}) | IN_ORDER
"""Kinds of which it is known beforehand which replicas go: of the others those of the least deletion cost."""


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A replica that no node takes; `why` as the scheduler says it."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ScaleStatus:
    """Of one workload. `owner` sets its replicas in our place, empty: nobody is known to; `warning` empty: none."""

    owner: str = ""
    warning: str = ""
    unscheduled: tuple[Unscheduled, ...] = ()


@dataclass(frozen=True, slots=True)
class Drain:
    """Replicas leave traffic before they go: the label `key` of such a pod is OFF in place of `value`.

    It may get requests for another `settle_s`. One that has not ended what it has by `timeout_s` goes all the same.
    """

    key: str
    value: str
    timeout_s: float
    settle_s: float
