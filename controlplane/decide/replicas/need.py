"""How many replicas what is ahead of one workload needs, and the reasons that say so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from controlplane.decide import expected, headroom
from controlplane.decide.forecast import State, announced
from controlplane.decide.policy import Policy
from controlplane.decide.replicas import seasons
from controlplane.decide.replicas.ahead import Ahead, ahead, noise
from controlplane.decide.replicas.pool import Pool, lead_s
from controlplane.decide.replicas.seasons import Foretold
from controlplane.decide.replicas.work import Work
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.state import DemandPoint, WorkloadState

# Fewer replicas must hold this share more than what may come, or so many deviations of the noise in demand.
_MARGIN, _DEVIATIONS = 0.02, 3.0
# A sliver above a whole number of replicas is rounding.
_SLIVER = 1e-6


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas that hold the demand ahead, with what it rests on. `partial`: some servers told nothing."""

    replicas: int
    stays: int
    """The same with a margin, which fewer replicas must hold too: noise at the edge must not make them swing."""
    work: Work
    ahead: Ahead
    lead_s: float
    quantile: float
    scale: float
    """By what the demand that was seen is taken up for servers that told nothing."""
    serving: int
    season: Foretold | None
    event: Reason | None
    partial: bool
    """Whether a server that takes traffic told nothing."""

    @property
    def binding(self) -> ReasonCode:
        """What the demand ahead rests on."""
        asked_per_s = 0.0 if self.event is None else self.event.numbers["per_s"]
        by_event = self.event is not None and asked_per_s >= self.ahead.wanted * self.work.per_replica_per_s - _SLIVER
        return ReasonCode.EVENT if by_event else ReasonCode.DEMAND_AHEAD


def need_of(
    pool: Pool,
    state: WorkloadState,
    forecast: State,
    work: Work,
    point: DemandPoint,
    policy: Policy,
    *,
    partial: bool,
) -> Need:
    """The replicas for what is ahead of the workload, by the forecast, what was announced and who waits."""
    target = max((o.target for m in pool.models for o in m.objectives if o.threshold_s is not None), default=0.9)
    quantile = headroom.slow_quantile(pool.judgements, target, policy)
    horizon_s = lead_s(state.startups) + policy.horizon_s
    seen = ahead(state.history, point.level, horizon_s, quantile)
    season = seasons.foretold(forecast, horizon_s, quantile, point.at)
    if season is not None:
        # by the work that a request is now
        seen = replace(seen, wanted=max(point.level, season.per_s / work.per_replica_per_s))
    seen, event = _with_events(pool, seen, horizon_s, forecast, work, point.at)
    # who waits, and who will until new replicas are there, is served beside what comes then
    waiting_s = work.waiting_replicas * point.level / max(work.level, 1e-9)
    if waiting_s > 0:
        waiting_s += max(0.0, point.level - len(pool.serving)) * horizon_s
    wanted = seen.wanted + waiting_s / max(policy.backlog_drain_s, horizon_s)
    replicas = math.ceil(wanted - _SLIVER)
    turned_away = any(
        i.rejected > 0 or i.turned_away
        for by_server in pool.readings.values()
        for reading in by_server.values()
        for i in reading.intervals[-3:]
    )
    if turned_away:
        # what is turned away is not seen: grow geometrically until nothing is
        replicas = max(replicas, len(pool.serving) + max(1, len(pool.serving) // 2))
    scale = point.level / work.level if work.level > 0 else 1.0
    return Need(
        max(1, replicas),
        max(1, replicas, math.ceil(wanted + max(_MARGIN * wanted, _DEVIATIONS * noise(state.history)))),
        work,
        seen,
        horizon_s,
        quantile,
        scale,
        len(pool.serving),
        season,
        event,
        partial,
    )


def _with_events(
    pool: Pool, seen: Ahead, horizon_s: float, forecast: State, work: Work, now: float
) -> tuple[Ahead, Reason | None]:
    """The demand ahead with what was announced, and the reason where something was."""
    asked_per_s, name = announced(pool.events, now, horizon_s, forecast, work.arrivals_per_s)
    if name is None:
        return seen, None
    wanted = max(seen.wanted, asked_per_s / work.per_replica_per_s)
    return replace(seen, wanted=wanted), expected.event_reason(asked_per_s, name)


def reasons(need: Need) -> Iterable[Reason]:
    """What a need rests on."""
    work = need.work
    yield Reason(
        ReasonCode.REPLICA_DEMAND,
        {
            "arrivals_per_s": work.arrivals_per_s * need.scale,
            "demand_replicas": work.level * need.scale,
            "serving_replicas": float(need.serving),
            "capacity_per_s": work.per_replica_per_s,
            "waiting_replicas_s": work.waiting_replicas,
            "needed_replicas": float(need.replicas),
        },
        {"binds": work.binds},
    )
    yield Reason(
        ReasonCode.DEMAND_AHEAD,
        {
            "replicas": need.ahead.wanted,
            "lead_s": need.lead_s,
            "quantile": need.quantile,
            "spread_replicas": need.ahead.spread,
            "moves": float(need.ahead.moves),
        },
    )
    if need.season is not None:
        yield seasons.reason(need.season)
    if need.event is not None:
        yield need.event


def one_fewer(need: Need, replicas: int) -> Reason:
    """What one replica fewer would have meant for the demand ahead."""
    holds_per_s = (replicas - 1) * need.work.per_replica_per_s
    ahead_per_s = need.ahead.wanted * need.work.per_replica_per_s
    numbers = {"fewer": replicas - 1.0, "holds_per_s": holds_per_s, "missed_per_s": max(0.0, ahead_per_s - holds_per_s)}
    return Reason(ReasonCode.ONE_FEWER, numbers)
