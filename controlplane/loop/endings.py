"""Logs what people set shortly before it ends, and when it has ended. Who is paged about it is the alerts' business."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from controlplane.domain.instructions import Freeze, Override
from controlplane.domain.received import FREEZES_AS
from controlplane.publish.alerting.conditions import ENDING_S

log = structlog.get_logger(__name__)


class Endings:
    """Remembers what was in force, and of what it was said that it ends soon: each is said once."""

    def __init__(self) -> None:
        self._holding: dict[str, Override | Freeze] = {}
        self._said: set[str] = set()

    def note(self, in_force: Iterable[Override | Freeze], now: float) -> None:
        """Take in what is in force now. Of what was made for no longer than the notice is nothing is said before."""
        holding = {entry.id: entry for entry in in_force if entry.actor != FREEZES_AS}
        for id_, entry in self._holding.items():
            if id_ not in holding:
                how = "ran out" if entry.expires_at <= now else "withdrawn or replaced"
                log.info("what a person set has ended", **_of(entry), how=how)
        for id_, entry in holding.items():
            left_s = entry.expires_at - now
            if id_ not in self._said and left_s <= ENDING_S < entry.expires_at - entry.created_at:
                self._said.add(id_)
                log.warning("what a person set ends soon", **_of(entry), left_s=round(left_s))
        self._holding = holding
        self._said &= holding.keys()


def _of(entry: Override | Freeze) -> dict[str, str]:
    kind = f"freeze {entry.direction.value}" if isinstance(entry, Freeze) else entry.kind.value
    return {"id": entry.id, "of": entry.subject or "*", "kind": kind, "actor": entry.actor, "reason": entry.reason}
