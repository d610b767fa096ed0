"""What the loaded copies of a placed model show together: demand, and what they can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.decide import expected, fits, forecast, headroom
from controlplane.decide.capacity import Capacity
from controlplane.decide.demand import Demand, estimate
from controlplane.decide.learning import curve, items_per_request
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Step, Target
from controlplane.domain.fleet import Phase
from controlplane.domain.observation import ModelState
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.signal import known
from controlplane.domain.state import UnitState


@dataclass(frozen=True, slots=True)
class Copy:
    """A loaded copy: its demand, what is expected of it, its instances, the most it may have, what it can take.

    `capacity` None: not known. `seen`: executions on which it rests.
    """

    demand: Demand
    expected_per_s: float
    instances: int
    most: int
    capacity: Capacity | None
    seen: float


@dataclass(frozen=True, slots=True)
class Together:
    """All copies whose demand is known, at least one, in requests per second.

    `rising_per_s` may come by the time there is another, `level_per_s` is what fewer must hold. `one_per_s`: one copy
    can take with all instances that it may have; None: not known. `waits`: requests wait or are turned away.
    `unbounded`: more may come than is seen.
    """

    copies: tuple[Copy, ...]
    rising_per_s: float
    level_per_s: float
    one_per_s: float | None
    waits: bool
    unbounded: bool

    @property
    def at_most(self) -> bool:
        """Whether none may have more instances."""
        return all(copy.instances >= copy.most for copy in self.copies)

    @property
    def capacity(self) -> Capacity | None:
        """That of the one that showed the most; None: not known of any."""
        best = _best(self.copies)
        return None if best is None else best[0]

    def instances_for(self, each_per_s: float) -> int | None:
        """The instances with which each of them takes so many; None: one of them could not, or it is not known."""
        best = self.capacity
        if best is None:
            return None
        counts = []
        for copy in self.copies:
            capacity = copy.capacity or best
            counts.append(capacity.smallest(each_per_s, copy.most))
            if not capacity.holds(counts[-1], each_per_s):
                return None
        return max(counts)


def together(loaded: Sequence[tuple[Unit, UnitState]], policy: Policy, now: float) -> Together | None:
    """Of loaded units, those whose demand is known; None: there is none."""
    copies = tuple(copy for unit, state in loaded if (copy := _copy(unit, state, policy, now)) is not None)
    if not copies:
        return None
    unit, _ = loaded[0]
    quantile, _ = headroom.quantile(unit.judgements, policy)
    demands = [copy.demand for copy in copies]
    seen_per_s, window_s = sum(d.likely_high_per_s for d in demands), min(d.window_s for d in demands)
    level_per_s = max(seen_per_s, sum(d.level_high_per_s for d in demands))
    expected_per_s = sum(copy.expected_per_s for copy in copies)
    rising_per_s = forecast.quantile_per_s(
        seen_per_s,
        window_s,
        quantile,
        growth_per_s2=sum(d.growth_per_s2 for d in demands),
        horizon_s=expected.lead_s(unit, Step.LOAD, policy),
    )
    best = _best(copies)
    return Together(
        copies,
        max(rising_per_s, expected_per_s),
        max(forecast.quantile_per_s(level_per_s, window_s, quantile), expected_per_s),
        None if best is None else best[0].per_s(best[1]),
        waits=any(d.backlog > 0 or d.censored for d in demands),
        unbounded=any(not math.isfinite(d.high_per_s) for d in demands),
    )


def away(unit: Unit) -> bool:
    """Whether it is known to hold no copy and to take none: nobody is asked of it, as in the question of placing."""
    live = None if unit.seen is None else known(unit.seen.live)
    absent = unit.reading is not None and unit.reading.state is ModelState.ABSENT
    return live is False or absent or unit.phase not in (None, Phase.READY)


def _best(copies: Sequence[Copy]) -> tuple[Capacity, int] | None:
    """(capacity, most instances) of the one that showed the most: a fresh one's first executions are slow."""
    known = [(copy.seen, copy.capacity, copy.most) for copy in copies if copy.capacity is not None]
    return max(known, key=lambda entry: entry[0])[1:] if known else None


def _copy(unit: Unit, state: UnitState, policy: Policy, now: float) -> Copy | None:
    """What a loaded copy shows; None while its demand is not known."""
    intervals = unit.reading.intervals if unit.reading is not None else ()
    demand = estimate(intervals, now, policy.data_max_age_s, unit.max_batch)
    if demand is None or unit.present is None:
        return None
    profile = unit.spec.profile
    service = curve(state.batches, unit.max_batch, profile if isinstance(profile, BatchProfile) else None)
    threshold_s, share = unit.latency_goal
    return Copy(
        demand,
        expected.ahead(unit, demand, policy, now, Step.LOAD).per_s,
        unit.present.instances,
        _most(unit, state, unit.present.instances, now),
        None if service is None else Capacity(service, threshold_s, share, items_per_request(intervals)),
        sum(batch.executions for batch in state.batches),
    )


def _most(unit: Unit, state: UnitState, instances: int, now: float) -> int:
    """The most instances that are of use, and that it may have."""
    if unit.instances_told is not None:
        return unit.instances_told
    most = max(1, unit.spec.instances_max)
    if state.ceiling is not None and state.ceiling.until > now:
        most = min(most, state.ceiling.instances)
    if unit.saturated_by:
        return min(most, instances)
    return fits.most(unit, Target(loaded=True, instances=instances), most)
