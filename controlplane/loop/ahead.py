"""At the start: what a clock that ran ahead and was set back since has left behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import structlog

from controlplane.domain.alerts import AlertStates
from controlplane.domain.ports import Store

log = structlog.get_logger(__name__)

MOST_S = 7200.0
"""History further ahead is not dropped unasked: where the clock is what is wrong, it is true and would be lost."""


def let_go_of_ahead(store: Store, now: float) -> None:
    """Drop history that is dated ahead of now, and say so once; far ahead only say so. Raises StoreError."""
    ahead = store.ahead(now)
    if ahead is None:
        return
    until = f"{datetime.fromtimestamp(ahead.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
    if ahead.until - now <= MOST_S:
        store.drop_ahead(now)
        log.warning("slices dated ahead of now were dropped: the clock was set back", slices=ahead.rows, until=until)
    else:
        log.error(
            "slices are dated far ahead of now; nothing measured until then is kept beside them",
            slices=ahead.rows,
            until=until,
            remedy="set the clock, if it is behind; if it is right, stop and run `controlplane db drop-ahead`",
        )


def not_ahead(states: AlertStates, now: float) -> AlertStates:
    """Alerts that stand since now where they stood since a later moment."""

    def seen(at: float | None) -> float | None:
        return None if at is None else min(at, now)

    return {
        key: replace(
            state,
            firing_since=seen(state.firing_since),
            clear_since=seen(state.clear_since),
            frozen_since=seen(state.frozen_since),
        )
        for key, state in states.items()
    }
