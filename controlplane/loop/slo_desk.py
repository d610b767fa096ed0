"""Where people ask how objectives stand and correct what was counted; each correction is kept with actor and reason."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.ports import Store
from controlplane.domain.records import AuditEntry
from controlplane.loop.clock import Clock
from controlplane.loop.slo_report import (
    Asked,
    ObjectiveHistory,
    read_history,
    read_report,
    read_standings,
    spec_of,
)
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.waker import LoopView
from controlplane.slo.report import ModelReport, Standing
from controlplane.store.levels import DAY_S, HOUR_S, KEEP_S

ALL = "*"
"""Stands for all models."""
ADJUSTABLE_S = KEEP_S[HOUR_S]
"""How far back counts can be corrected: as far as a time of day can be told."""
_AHEAD_S = 366 * DAY_S


class SloDesk:
    """Tells how objectives stand. Raises NotFoundError, ConflictError; StoreError and StoreBusyError from the store.

    What only reads is read on the thread of `reports`.
    """

    def __init__(self, loop: LoopView, store: StoreThread, reports: StoreThread, clock: Clock) -> None:
        self._loop = loop
        self._store = store
        self._reports = reports
        self._clock = clock

    async def standings(self, window_s: float | None = None) -> tuple[Standing, ...]:
        """How every objective stands over its own window, or over `window_s` seconds."""
        fleet, now = self._loop.fleet, self._clock()
        return await self._reports.call(lambda s: read_standings(s, fleet, window_s, now))

    async def report(self, asked: Asked) -> ModelReport:
        """One model in full."""
        fleet, now = self._loop.fleet, self._clock()
        return await self._reports.call(lambda s: read_report(s, fleet, asked, now))

    async def history(self, asked: Asked) -> ObjectiveHistory:
        """One objective over time."""
        fleet, now = self._loop.fleet, self._clock()
        return await self._reports.call(lambda s: read_history(s, fleet, asked, now))

    async def adjustments(self, model: str) -> Sequence[Adjustment]:
        """Corrections that were made for a model, those for all among them, oldest first; `ALL`: every one."""
        if model != ALL:
            spec_of(self._loop.fleet, model)
        made = await self._reports.call(lambda s: s.adjustments())
        own = {a.id for a in made if model == ALL or a.model in {"", model}}
        return [a for a in made if a.id in own or a.withdraws in own]

    async def exclude(
        self, model: str, objective: str, start: float, end: float, *, actor: str, reason: str
    ) -> Adjustment:
        """Let a time not count, past or planned; of one model or `ALL`, of one objective or (empty) every one."""
        made = self._new(AdjustmentKind.EXCLUDE, model, objective, actor, reason, start=start, end=end)
        return await self._append(made, f"{_span(made)}; {reason}")

    async def correct(
        self, model: str, objective: str, start: float, end: float, bad: int, *, actor: str, reason: str
    ) -> Adjustment:
        """Count `bad` events more (negative: fewer) of one objective over a time that has passed."""
        if model == ALL or not objective:
            raise ConflictError("events are corrected of one objective of one model; name both")
        made = self._new(AdjustmentKind.EVENTS, model, objective, actor, reason, start=start, end=end, bad=bad)
        if end > made.at:
            raise ConflictError(f"{_span(made)} is not over yet; events are corrected of what has passed")
        return await self._append(made, f"{bad:+d} bad events, {_span(made)}; {reason}")

    async def withdraw(self, model: str, adjustment_id: str, *, actor: str, reason: str) -> Adjustment:
        """Take an earlier correction of that model (`ALL`: of all models) back."""
        name = "" if model == ALL else model
        of = {a.id for a in await self._store.call(lambda s: s.adjustments()) if a.model == name}
        if adjustment_id not in of:
            raise NotFoundError(f"adjustment of {'all models' if model == ALL else f'model {model}'}", adjustment_id)
        id_, now = _new_id(), self._clock()
        made = Adjustment(id_, now, actor, reason, AdjustmentKind.WITHDRAW, name, withdraws=adjustment_id)
        return await self._append(made, f"withdraws {adjustment_id}; {reason}")

    def _new(
        self,
        kind: AdjustmentKind,
        model: str,
        objective: str,
        actor: str,
        reason: str,
        *,
        start: float,
        end: float,
        bad: int = 0,
    ) -> Adjustment:
        if model != ALL:
            known = tuple(o.key for o in spec_of(self._loop.fleet, model).objectives)
            if objective and objective not in known:
                raise NotFoundError(f"objective of model {model}", objective, known)
        elif objective:
            raise ConflictError("one objective is adjusted of one model; name it")
        now = self._clock()
        made = Adjustment(
            _new_id(), now, actor, reason, kind, "" if model == ALL else model, objective, start, end, bad
        )
        if start >= end:
            raise ConflictError(f"{_span(made)}: the start must lie before the end")
        if start < now - ADJUSTABLE_S:
            days = ADJUSTABLE_S // DAY_S
            raise ConflictError(f"{_span(made)} begins more than {days} days ago; further back only days are kept")
        if end > now + _AHEAD_S:
            raise ConflictError(f"{_span(made)} ends more than {_AHEAD_S // DAY_S} days ahead")
        return made

    async def _append(self, made: Adjustment, detail: str) -> Adjustment:
        subject = made.model or ALL
        entry = AuditEntry(made.at, made.actor, f"adjust_{made.kind.value}", subject, f"{made.id}: {detail}")

        def append(store: Store) -> None:
            store.add_adjustment(made)
            store.audit(entry)

        await self._store.call(append)
        self._loop.nudge()
        return made


def _span(adjustment: Adjustment) -> str:
    return " to ".join(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in (adjustment.start, adjustment.end))


def _new_id() -> str:
    return f"ad-{uuid.uuid4().hex[:12]}"
