"""What the dashboards of each kind of server share: figures of a model on a server, by the counters of that server."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.domain.observation import Counter
from controlplane.publish.dashboards.queries import Own, total

M, S = names.MODEL, names.SERVER
OWN = Own(M, S)
COUNTERS = names.MODEL_COUNTERS
UNIT = "{{model}} on {{server}}"


def rate(counter: Counter, *by: str) -> str:
    """How much a counter of the servers grows per second, by model and server or by the labels given."""
    return total(OWN.rate(COUNTERS[counter]), *(by or (M, S)))
