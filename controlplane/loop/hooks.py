"""Alerts that come back: kept, shown beside decisions, and, where a rule says so, a reason not to scale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from controlplane.domain.errors import NotFoundError
from controlplane.domain.instructions import Freeze
from controlplane.domain.ports import Store
from controlplane.domain.received import FREEZES_AS, ReceivedAlert, by_urgency
from controlplane.domain.records import AuditEntry
from controlplane.domain.routing import AlertSettings, FreezeRule
from controlplane.loop.clock import Clock
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.waker import LoopView

log = structlog.get_logger(__name__)

_REASON_MAX = 500


class Inbox:
    """Takes alerts from Alertmanagers and tells of them. Raises NotFoundError; StoreError, StoreBusyError of the store.

    A rule freezes scaling while an alert of it fires, and for no longer than the rule's time after one was told last:
    of the alert's model, of all where the alert names none, of none where it names one that is not ours. However many
    alerts match, it is one freeze for a rule and a model. It touches no freeze that people made; one of its own that
    somebody ended is not made anew before another alert begins, or one begins anew.
    """

    def __init__(
        self, loop: LoopView, store: StoreThread, reports: StoreThread, clock: Clock, settings: AlertSettings
    ) -> None:
        self._loop = loop
        self._store = store
        self._reports = reports
        self.clock = clock
        self._rules = settings.freezes
        self._unheard_s = settings.unheard_s

    async def receive(self, told: Sequence[ReceivedAlert], now: float) -> None:
        """Keep how these stand, told now, and freeze what rules say. Again changes only how long that holds."""
        holds = self._touched(told)

        def keep(store: Store) -> bool:
            store.add_received(told)
            return bool(holds) and _keep_freezes(store, holds, store.received_firing(now, self._unheard_s), now)

        if await self._store.call(keep):
            self._loop.nudge()

    async def firing(self, at: float | None = None, model: str = "") -> Sequence[ReceivedAlert]:
        """Those that fire now or fired at a moment; of one model and of none, or of all."""
        moment = self.clock() if at is None else at
        return await self._reports.call(lambda s: s.received_firing(moment, self._unheard_s, model))

    async def newest(self, model: str, limit: int) -> tuple[list[ReceivedAlert], list[ReceivedAlert]]:
        """All that fire now, the most urgent first, and the newest others; of one model or of all."""
        if model and self._loop.fleet.model(model) is None:
            raise NotFoundError("model", model, tuple(m.name for m in self._loop.fleet.models))
        now = self.clock()
        firing, newest = await self._reports.call(
            lambda s: (s.received_firing(now, self._unheard_s, model), s.received(model, limit))
        )
        own = sorted((alert for alert in firing if model in {"", alert.model}), key=by_urgency)
        return own, [alert for alert in newest if not alert.fired_at(now, self._unheard_s)]

    def _touched(self, told: Sequence[ReceivedAlert]) -> dict[str, _Hold]:
        """The freezes that these alerts may begin, prolong or end, by id."""
        found: dict[str, _Hold] = {}
        for alert in told:
            holds = [_Hold(rule, alert.model) for rule in self._rules if rule.matches(alert.labels)]
            if holds and alert.model and self._loop.fleet.model(alert.model) is None:
                log.warning("an alert of a model that is not ours freezes nothing", alert=alert.name, model=alert.model)
                continue
            found |= {hold.id: hold for hold in holds}
        return found


@dataclass(frozen=True, slots=True)
class _Hold:
    """What one rule does to one model, or to all where `model` is empty."""

    rule: FreezeRule
    model: str

    @property
    def id(self) -> str:
        """The same for the same rule and model, whichever alert it is for and however long it holds."""
        said = [sorted(self.rule.matchers.items()), self.rule.direction.value, self.model]
        return f"fr-alert-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}"

    def freeze(self, firing: Sequence[ReceivedAlert], now: float) -> Freeze | None:
        """The freeze that it asks for while these fire, the longest firing first; None: none of them holds it."""
        holding = [
            alert
            for alert in firing
            if alert.model == self.model and alert.heard_at + self.rule.for_s > now and self.rule.matches(alert.labels)
        ]
        if not holding:
            return None
        first, until = holding[0], max(alert.heard_at for alert in holding) + self.rule.for_s
        begun_at = max(alert.received_at for alert in holding)
        reason = " ".join(f"alert {first.name} fires: {first.summary}".split())[:_REASON_MAX]
        reason = reason.removesuffix(":") + (f" (and {len(holding) - 1} more)" if len(holding) > 1 else "")
        return Freeze(self.id, self.model, self.rule.direction, FREEZES_AS, reason, begun_at, until)


def _keep_freezes(store: Store, holds: Mapping[str, _Hold], firing: Sequence[ReceivedAlert], now: float) -> bool:
    """Begin, prolong and end them at once; gives whether any began or ended, which is audited."""
    in_force = {freeze.id: freeze for freeze in store.freezes(now)}
    written: list[tuple[Freeze, AuditEntry | None]] = []
    for id_, hold in holds.items():
        known, freeze, subject = in_force.get(id_), hold.freeze(firing, now), hold.model or "*"
        if freeze is not None and known is not None:
            written.append((replace(freeze, created_at=known.created_at), None))
        elif freeze is not None:
            detail = f"{freeze.direction.value}; {freeze.reason}; for {freeze.expires_at - now:.0f} s"
            written.append((freeze, AuditEntry(now, FREEZES_AS, "freeze", subject, detail)))
        elif known is not None:
            ended = AuditEntry(now, FREEZES_AS, "end_freeze", subject, f"{id_}; the last alert ended")
            written.append((replace(known, expires_at=now), ended))
    return store.put_freezes(written) if written else False
