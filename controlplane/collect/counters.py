"""Cumulative counters of one model on one server -> what happened between two readings.

Triton: all series of a model go when it is unloaded and begin at 0 with its next load, but the failure counters stay
and go on. A hot reload keeps the counters and sets the statistics (executions) back. A restart sets everything back.
vLLM: everything goes with the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from controlplane.collect.families import REASON_BACKEND, REASON_CANCELED, REASON_REJECTED
from controlplane.domain.observation import BatchCount, Interval


class Totals(NamedTuple):
    """Counters of one group of series that begins and ends as a whole (a version, a version on a GPU, an engine)."""

    success: float
    request_s: float
    queue_s: float


FAILED = 0
"""Stands in place of a batch size for requests that failed: how many, and what they took from arrival to answer."""


class Executed(NamedTuple):
    """Executions of one batch size since the statistics began, and their compute nanoseconds together."""

    times: int
    compute_ns: int


Executions: TypeAlias = Mapping[tuple[str, int], Executed]
"""By version and batch size, or FAILED."""
Failures: TypeAlias = Mapping[tuple[str, str], float]
"""Failed requests by group and reason."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters of one model at `at`. No groups: it is not loaded. `executions` None: not read."""

    at: float
    groups: Mapping[str, Totals]
    failures: Failures
    pending: int = 0
    instances: int = 0
    running_max: int = 0
    executions: Executions | None = None


class Ledger:
    """Turns consecutive readings of one model on one server into intervals that do not overlap.

    After missed readings one interval covers the gap, if no counter began anew in it. If one did, the interval begins
    at the last missed reading, so that what was counted since is not spread thin over an outage.
    """

    def __init__(self) -> None:
        self._base: Reading | None = None
        self._missed_at: float | None = None

    @property
    def base(self) -> Reading | None:
        """The newest reading."""
        return self._base

    def missed(self, at: float) -> None:
        """A reading was tried at `at` and failed."""
        if self._base is not None:
            self._missed_at = at

    def stands_still(self, reading: Reading) -> bool:
        """Whether no counter moved since the newest reading though executions were counted: an old page, no idleness.

        A request that ends between the two answers looks so too; its reading is made up for by the next one.
        """
        base = self._base
        if base is None or base.executions is None or reading.executions is None:
            return False
        still = (base.groups, base.failures) == (reading.groups, reading.failures)
        return still and any(
            executed.times > base.executions.get(key, Executed(0, 0)).times
            for key, executed in reading.executions.items()
        )

    def seen(self, reading: Reading) -> Interval | None:
        """What happened since the reading before; None where that cannot be told."""
        base, missed_at = self._base, self._missed_at
        if base is not None and reading.at <= base.at:
            return None
        self._base, self._missed_at = reading, None
        if base is None or not reading.groups or (base.groups and base.groups.keys() - reading.groups.keys()):
            return None
        return _between(base, reading, base.at if missed_at is None else missed_at)


def fell(before: Reading, after: Reading) -> bool:
    """Whether the model's counters began anew, which its unloading and loading and a server's restart do."""
    return any(_began_anew(totals, after.groups.get(group)) for group, totals in before.groups.items())


def failures_fell(before: Reading, after: Reading) -> bool:
    """Whether failure counters went down or away, which only a server's restart does."""
    return any(after.failures.get(key, 0) < count for key, count in before.failures.items())


def _began_anew(before: Totals, after: Totals | None) -> bool:
    return after is not None and any(now < then for then, now in zip(before, after, strict=True))


def _between(base: Reading, reading: Reading, missed_at: float) -> Interval:
    success = request_s = queue_s = 0.0
    anew = not base.groups
    for group, totals in reading.groups.items():
        before = base.groups.get(group)
        if before is None or _began_anew(before, totals):
            anew |= before is not None
            before = Totals(0, 0, 0)
        success += totals.success - before.success
        request_s += totals.request_s - before.request_s
        queue_s += totals.queue_s - before.queue_s
    failures = _failures(base.failures, reading.failures)
    failed = round(sum(failures.values()))
    rejected = round(failures.get(REASON_REJECTED, 0))
    canceled = round(failures.get(REASON_CANCELED, 0))
    sizes = _sizes(base, reading, anew=anew)
    failing = sizes.get(FAILED, Executed(0, 0))
    return Interval(
        start=missed_at if anew else base.at,
        end=reading.at,
        completed=round(success) + failed,
        failed=failed - rejected - canceled,
        failed_backend=round(failures.get(REASON_BACKEND, 0)),
        rejected=rejected,
        canceled=canceled,
        request_s=request_s,
        queue_s=queue_s,
        pending_start=0 if anew else base.pending,
        pending_end=reading.pending,
        running_max=max(base.running_max, reading.running_max),
        instances=reading.instances,
        batches=tuple(
            BatchCount(size, executed.times, executed.compute_ns / 1e9)
            for size, executed in sorted(sizes.items())
            if executed.times and size != FAILED
        ),
        failure_s=failing.compute_ns / failing.times / 1e9 if failing.times else None,
    )


def _failures(before: Failures, after: Failures) -> dict[str, float]:
    """Failures in between, by reason."""
    reasons: dict[str, float] = {}
    for key, count in after.items():
        then = before.get(key, 0)
        reasons[key[1]] = reasons.get(key[1], 0) + (count - then if count >= then else count)
    return reasons


def _sizes(base: Reading, reading: Reading, *, anew: bool) -> dict[int, Executed]:
    """Executions in between; empty when not read at both ends, or when they began anew while the counters went on."""
    then = {} if anew else base.executions
    if then is None or reading.executions is None:
        return {}
    if any(reading.executions.get(key, Executed(0, 0)).times < executed.times for key, executed in then.items()):
        return {}
    sizes: dict[int, Executed] = {}
    for key, executed in reading.executions.items():
        earlier, so_far = then.get(key, Executed(0, 0)), sizes.get(key[1], Executed(0, 0))
        sizes[key[1]] = Executed(
            so_far.times + executed.times - earlier.times, so_far.compute_ns + executed.compute_ns - earlier.compute_ns
        )
    return sizes


@dataclass(slots=True)
class _OwnRequest:
    finished_at: float | None = None


class OwnRequests:
    """Tells which of the completed requests of a model were our own probes.

    A probe under way while counters are read may be counted in this interval or in the next. It is taken to be in the
    first one with completions to spare, so that an idle model with probes shows as many probes as completions.
    """

    def __init__(self) -> None:
        self._open: deque[_OwnRequest] = deque()
        self._settled_at = float("-inf")

    def begin(self) -> _OwnRequest:
        """A probe is about to be sent."""
        request = _OwnRequest()
        self._open.append(request)
        return request

    def end(self, request: _OwnRequest, at: float, *, counted: bool) -> None:
        """It came to its end; `counted` False: the server refused it before counting it anywhere."""
        request.finished_at = at
        if not counted and request in self._open:
            self._open.remove(request)

    def settle(self, interval: Interval) -> Interval:
        """The interval with its `probes`."""
        probes = min(len(self._open), interval.completed)
        for _ in range(probes):
            self._open.popleft()
        self.expire(interval.end)
        return replace(interval, probes=probes) if probes else interval

    def expire(self, at: float) -> None:
        """Forget those that had ended by the settling before this one: no later interval counts them."""
        self._open = deque(r for r in self._open if r.finished_at is None or r.finished_at > self._settled_at)
        self._settled_at = at
