"""Alerts that come back: kept, shown beside decisions, and, where a rule says so, a reason not to scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import structlog

from controlplane.domain.decision import Freeze, FreezeDirection
from controlplane.domain.errors import NotFoundError
from controlplane.domain.ports import AuditEntry, Store
from controlplane.domain.received import FREEZES_AS, ReceivedAlert, by_urgency
from controlplane.domain.routing import AlertSettings
from controlplane.loop.clock import Clock
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.waker import LoopView

log = structlog.get_logger(__name__)

_REASON_MAX = 500


class Inbox:
    """Takes alerts from Alertmanagers and tells of them. Raises NotFoundError; StoreError, StoreBusyError of the store.

    A rule freezes scaling while the alert fires, and for no longer than the rule's time after it was told last: of the
    alert's model, of all where the alert names none, of none where it names one that is not ours. It touches no freeze
    that people made; one of its own that somebody ended is not made anew before the alert begins anew.
    """

    def __init__(
        self, loop: LoopView, store: StoreThread, reports: StoreThread, clock: Clock, settings: AlertSettings
    ) -> None:
        self._loop = loop
        self._store = store
        self._reports = reports
        self._clock = clock
        self._rules = settings.freezes
        self._unheard_s = settings.unheard_s

    async def receive(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Keep how these stand now, and freeze what rules say. Telling it again changes only how long that holds."""
        now = self._clock()
        told = [replace(alert, received_at=now, heard_at=now) for alert in alerts]
        freezes = [(alert, freeze) for alert in told for freeze in self._freezes(alert, now)]

        def keep(store: Store) -> bool:
            store.add_received(told)
            return _keep_freezes(store, freezes, now) if freezes else False

        if await self._store.call(keep):
            self._loop.nudge()

    async def firing(self, at: float | None = None, model: str = "") -> Sequence[ReceivedAlert]:
        """Those that fire now or fired at a moment; of one model and of none, or of all."""
        moment = self._clock() if at is None else at
        return await self._reports.call(lambda s: s.received_firing(moment, self._unheard_s, model))

    async def newest(self, model: str, limit: int) -> tuple[list[ReceivedAlert], list[ReceivedAlert]]:
        """All that fire now, the most urgent first, and the newest others; of one model or of all."""
        if model and self._loop.fleet.model(model) is None:
            raise NotFoundError("model", model, tuple(m.name for m in self._loop.fleet.models))
        now = self._clock()
        firing, newest = await self._reports.call(
            lambda s: (s.received_firing(now, self._unheard_s, model), s.received(model, limit))
        )
        own = sorted((alert for alert in firing if model in {"", alert.model}), key=by_urgency)
        return own, [alert for alert in newest if not alert.fired_at(now, self._unheard_s)]

    def _freezes(self, alert: ReceivedAlert, now: float) -> Iterator[Freeze]:
        """What the rules that it matches ask for: of each direction the longest. For an alert that ended, until now."""
        longest: dict[FreezeDirection, float] = {}
        for rule in self._rules:
            if all(alert.labels.get(name, "") == value for name, value in rule.matchers.items()):
                longest[rule.direction] = max(longest.get(rule.direction, 0.0), rule.for_s)
        if longest and alert.model and self._loop.fleet.model(alert.model) is None:
            log.warning("an alert of a model that is not ours freezes nothing", alert=alert.name, model=alert.model)
            return
        reason = " ".join(f"alert {alert.name or alert.fingerprint} fires: {alert.summary}".split())[:_REASON_MAX]
        for direction, for_s in longest.items():
            name = f"fr-{alert.fingerprint}-{alert.starts_at * 1000:.0f}-{direction.value}"
            until = now + for_s if alert.firing else now
            yield Freeze(name, alert.model, direction, FREEZES_AS, reason.removesuffix(":"), now, until)


def _keep_freezes(store: Store, freezes: Sequence[tuple[ReceivedAlert, Freeze]], now: float) -> bool:
    """Begin, prolong and end them at once; gives whether any began or ended, which is audited."""
    in_force = {freeze.id: freeze for freeze in store.freezes(now)}
    written: list[tuple[Freeze, AuditEntry | None]] = []
    for alert, freeze in freezes:
        known = in_force.get(freeze.id)
        subject, made = freeze.model or "*", f"{freeze.direction.value}; {freeze.reason}"
        if alert.firing and known is not None:
            written.append((replace(freeze, created_at=known.created_at), None))
        elif alert.firing:
            detail = f"{made}; for {freeze.expires_at - now:.0f} s"
            written.append((freeze, AuditEntry(now, FREEZES_AS, "freeze", subject, detail)))
        elif known is not None:
            ended = AuditEntry(now, FREEZES_AS, "end_freeze", subject, f"{freeze.id}; the alert ended")
            written.append((replace(known, expires_at=now), ended))
    return store.put_freezes(written) if written else False
