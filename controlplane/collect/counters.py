"""Cumulative counters of one model on one server -> what happened between two readings.

Triton: all series of a model go when it is unloaded and begin at 0 with its next load, but the failure counters stay
and go on. A hot reload keeps the counters and sets the statistics (executions) back. A restart sets everything back.
vLLM: everything goes with the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from controlplane.collect.families import REASON_BACKEND, REASON_CANCELED, REASON_REJECTED
from controlplane.domain.observation import BatchCount, Interval, VersionCount


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
    """All counters of one model at `at`. No groups: nothing is counted, so far or any more.

    `pending` requests wait and `running` execute; None: not observed. `running_max`: at most so many can execute, None:
    nothing bounds them; `running_seen_max`: by the largest batch seen so far. `executions` None: not read.
    """

    at: float
    groups: Mapping[str, Totals]
    failures: Failures
    pending: int | None = None
    instances: int = 0
    running_max: int | None = None
    executions: Executions | None = None
    running: int | None = None
    running_seen_max: int | None = None


class Ledger:
    """Turns consecutive readings of one model on one server into intervals that do not overlap.

    After missed readings one interval covers the gap, if no counter began anew in it. If one did, the interval begins
    where the new process cannot have begun yet: at the last moment at which nobody listened. Where that was not seen it
    begins at the last missed reading, so that what was counted since is not spread thin over an outage; some of it may
    have come before. What came between the last reading and a crash is counted nowhere: `began_anew` says so, unless
    that time is not covered. What was in the system then came before, in the interval that the last reading ended.

    `version_of` gives the model's version of a group, where requests are to be told apart by it; `if_several`: only
    while there are several groups. `may_return`: groups may be off a page and go on later. Then a page without any is a
    missed one unless nobody listened in between, and a group that returns is counted on from where it left unless it
    fell.
    """

    def __init__(
        self, version_of: Callable[[str], str] | None = None, *, if_several: bool = False, may_return: bool = False
    ) -> None:
        self._version_of, self._if_several = version_of, if_several
        self._may_return = may_return
        self._base: Reading | None = None
        self._left: dict[str, Totals] = {}
        self._missed_at: float | None = None
        self._refused_at: float | None = None

    @property
    def base(self) -> Reading | None:
        """The newest reading."""
        return self._base

    def missed(self, at: float, *, refused: bool = False) -> None:
        """A reading was tried at `at` and failed; `refused`: nobody listened, so the process had likely ended."""
        if self._base is not None:
            self._missed_at = at
            self._refused_at = at if refused else self._refused_at

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
        base = self._base
        if base is not None and reading.at <= base.at:
            return None
        if base is not None and base.groups and self._off_page(reading):
            self._missed_at = reading.at
            return None
        self._base = reading
        missed_at, self._missed_at = _parted(self._missed_at, reading.at)
        refused_at, self._refused_at = _parted(self._refused_at, reading.at)
        if base is None or not reading.groups:
            return None
        gone = base.groups.keys() - reading.groups.keys()
        if refused_at is not None and (not base.groups or gone or fell(base, reading) or failures_fell(base, reading)):
            self._left = {}
            nothing = Reading(refused_at, {}, {}, pending=0, running=0)
            return self._told(nothing, reading, refused_at, unseen=False)
        if self._may_return:
            base = self._with_returned(base, reading)
        if gone:
            return None
        return self._told(base, reading, missed_at, unseen=refused_at is not None)

    def _off_page(self, reading: Reading) -> bool:
        return self._may_return and not reading.groups and self._refused_at is None

    def _with_returned(self, base: Reading, reading: Reading) -> Reading:
        """The base with the groups that return, as they left."""
        if fell(base, reading) or failures_fell(base, reading):
            self._left = {}  # those of another process
        known = {**self._left, **base.groups}
        self._left = {group: totals for group, totals in known.items() if group not in reading.groups}
        here = ((group, totals, reading.groups.get(group)) for group, totals in known.items())
        going_on = {g: then for g, then, now in here if now is not None and not _began_anew(then, now)}
        return replace(base, groups={**base.groups, **going_on})

    def _told(self, base: Reading, reading: Reading, missed_at: float | None, *, unseen: bool) -> Interval:
        interval = _between(base, reading, missed_at, unseen=unseen)
        if self._version_of is None or (self._if_several and len(reading.groups) == 1):
            return interval
        return replace(interval, versions=tuple(_by_version(base, reading, self._version_of)))


def _parted(missed_at: float | None, at: float) -> tuple[float | None, float | None]:
    """A missed reading as one before `at`, and as one after it: of a reading told late, the miss may be of after it."""
    return (None, missed_at) if missed_at is not None and missed_at >= at else (missed_at, None)


def fell(before: Reading, after: Reading) -> bool:
    """Whether the model's counters began anew, which its unloading and loading and a server's restart do."""
    return any(_began_anew(totals, after.groups.get(group)) for group, totals in before.groups.items())


def failures_fell(before: Reading, after: Reading) -> bool:
    """Whether failure counters went down or away, which only a server's restart does."""
    return any(after.failures.get(key, 0) < count for key, count in before.failures.items())


def executions_fell(base: Reading, reading: Reading) -> bool:
    """Whether statistics began anew, which a hot reload does, and all that makes the counters begin anew."""
    if base.executions is None or reading.executions is None:
        return False
    now, none = reading.executions, Executed(0, 0)
    return any(now.get(key, none).times < executed.times for key, executed in base.executions.items())


def _began_anew(before: Totals, after: Totals | None) -> bool:
    return after is not None and any(now < then for then, now in zip(before, after, strict=True))


def _between(base: Reading, reading: Reading, missed_at: float | None, *, unseen: bool) -> Interval:
    success = request_s = queue_s = 0.0
    anew = not base.groups
    for group, totals in reading.groups.items():
        before = _before(base, group, totals)
        anew |= group in base.groups and before is _NOTHING
        success += totals.success - before.success
        request_s += totals.request_s - before.request_s
        queue_s += totals.queue_s - before.queue_s
    failures = _failures(base.failures, reading.failures)
    failed = round(sum(failures.values()))
    rejected = round(failures.get(REASON_REJECTED, 0))
    canceled = round(failures.get(REASON_CANCELED, 0))
    sizes = _sizes(base, reading, anew=anew)
    failing = sizes.get(FAILED, Executed(0, 0))
    interval = Interval(
        start=base.at,
        end=reading.at,
        completed=round(success) + failed,
        failed=failed - rejected - canceled,
        failed_backend=round(failures.get(REASON_BACKEND, 0)),
        rejected=rejected,
        canceled=canceled,
        request_s=request_s,
        queue_s=queue_s,
        pending_start=base.pending,
        pending_end=reading.pending,
        running_max=None
        if None in (base.running_max, reading.running_max)
        else _most(base.running_max, reading.running_max),
        instances=reading.instances,
        batches=tuple(
            BatchCount(size, executed.times, executed.compute_ns / 1e9)
            for size, executed in sorted(sizes.items())
            if executed.times and size != FAILED
        ),
        failure_s=failing.compute_ns / failing.times / 1e9 if failing.times else None,
        running_start=base.running,
        running_end=reading.running,
        running_seen_max=_most(base.running_seen_max, reading.running_seen_max),
        began_anew=unseen or failures_fell(base, reading) or executions_fell(base, reading),
    )
    return _since(interval, base, missed_at) if anew else interval


_NOTHING = Totals(0, 0, 0)


def _before(base: Reading, group: str, totals: Totals) -> Totals:
    """From where the totals of a group were counted on."""
    before = base.groups.get(group)
    return _NOTHING if before is None or _began_anew(before, totals) else before


def _by_version(base: Reading, reading: Reading, version_of: Callable[[str], str]) -> Iterator[VersionCount]:
    """The requests in between by version, of those that are there."""
    grown: dict[str, tuple[float, float]] = {}
    for group, totals in reading.groups.items():
        version, before = version_of(group), _before(base, group, totals)
        count, request_s = grown.get(version, (0.0, 0.0))
        grown[version] = count + totals.success - before.success, request_s + totals.request_s - before.request_s
    for version, (count, request_s) in sorted(grown.items()):
        own = {key: value for key, value in reading.failures.items() if version_of(key[0]) == version}
        failures = _failures(base.failures, own)
        failed = round(sum(failures.values()))
        rejected = round(failures.get(REASON_REJECTED, 0))
        canceled = round(failures.get(REASON_CANCELED, 0))
        completed, failed = round(count) + failed, failed - rejected - canceled
        yield VersionCount(version, completed, failed, rejected, canceled, request_s)


def _since(interval: Interval, base: Reading, missed_at: float | None) -> Interval:
    """The interval of counters that began at 0 within it: with nothing in the system, at a moment not known."""
    if missed_at is not None and missed_at > base.at:
        return replace(interval, start=missed_at, pending_start=None, running_start=None, began_anew=True)
    if base.groups:
        return replace(interval, pending_start=0, running_start=0, began_anew=True)
    return interval


def _most(before: int | None, after: int | None) -> int | None:
    """The larger one, or the one that is known."""
    return max((count for count in (before, after) if count is not None), default=None)


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
    if not anew and executions_fell(base, reading):
        return {}
    sizes: dict[int, Executed] = {}
    for key, executed in reading.executions.items():
        earlier, so_far = then.get(key, Executed(0, 0)), sizes.get(key[1], Executed(0, 0))
        sizes[key[1]] = Executed(
            so_far.times + executed.times - earlier.times, so_far.compute_ns + executed.compute_ns - earlier.compute_ns
        )
    return sizes
