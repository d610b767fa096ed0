"""Whatever happens to a server and whenever it is read: the arrivals there really were lie inside the demand."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controlplane.collect.counters import Totals
from controlplane.collect.page_server import PageUnit, Served
from controlplane.collect.triton.server import TritonUnit
from controlplane.collect.triton.wire import IndexEntry, ModelConfig, ModelSeries
from controlplane.decide.demand import estimate
from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.observation import Interval, ModelState
from tests.property.demand_servers import Engine, Request

Event: TypeAlias = tuple[Any, ...]
Step: TypeAlias = tuple[Event, float, str]
MODEL = ModelSpec("m", "m", ("s",), Mode.ACT)
# Every event takes a moment, so that none falls on the edge of an interval.
MOMENT_S = 0.001
BATCHES = "batches of"

arrivals = st.tuples(st.just("arrive"), st.sampled_from([1, 9, 40]), st.sampled_from([0.01, 4.0]), st.booleans())
small = st.sampled_from(
    [("nothing",), ("probe", 0.02), ("probe", 3.0), ("cancel",), ("instances", 1), ("instances", 4)]
)
breaks = st.sampled_from([("unload",), ("load",), ("hot reload",), ("crash",), ("start",), ("restart",)])
waits = st.sampled_from([0.05, 0.6, 5.0, 30.0])
reads = st.sampled_from(["scrape", "scrape", "scrape", "miss", ""])


def histories(*events: st.SearchStrategy[Event]) -> st.SearchStrategy[list[Step]]:
    """Lists of what happens, how long until the next attempt to read, and what becomes of that."""
    return st.lists(st.tuples(st.one_of(*events), waits, reads), max_size=20)


CALM = histories(arrivals, arrivals, small)
WILD = histories(arrivals, arrivals, small, breaks)
ENGINES = st.builds(
    Engine,
    instances=st.integers(1, 3),
    max_batch=st.sampled_from([1, 4, 8]),
    full_at=st.sampled_from([3, 1000]),
    timeout_s=st.sampled_from([2.5, 1e9]),
)


class Reader(ABC):
    """An engine that is read by one unit of the collector, and probed by us."""

    def __init__(self, engine: Engine, unit: TritonUnit | PageUnit) -> None:
        self.engine = engine
        self.unit = unit

    @property
    def intervals(self) -> Sequence[Interval]:
        return self.unit.intervals

    @property
    def last_read_at(self) -> float:
        """When it was last read for good."""
        return self.unit.ledger.base.at if self.unit.ledger.base is not None else 0.0

    @property
    def listens(self) -> bool:
        return self.engine.up

    def probe(self, takes_s: float) -> None:
        if self.listens and self.engine.loaded:
            self.engine.arrive(Request(self.engine.now, takes_s, own=self.unit.own_requests.begin(self.engine.now)))

    def hear(self) -> None:
        """Our own requests' answers arrive."""
        for own, at, counted, turned_away in self.engine.own_ended:
            self.unit.own_requests.end(own, at, counted=counted, turned_away=turned_away)
        self.engine.own_ended.clear()

    def happens(self, what: str) -> None:
        breaks_of(self.engine)[what]()

    @abstractmethod
    def miss(self, at: float, *, refused: bool) -> None:
        """Fail to read."""

    @abstractmethod
    def scrape(self) -> dict[str, float]:
        """Read; gives every counter that can be seen to go down."""


class AsTriton(Reader):
    """An engine read as a Triton: a page, then statistics and an index; executing requests are not exported."""

    LATER_S = 0.02
    unit: TritonUnit

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, TritonUnit(MODEL, "s"))

    def miss(self, at: float, *, refused: bool) -> None:
        self.unit.missed(at, "no answer", refused=refused)

    def scrape(self) -> dict[str, float]:
        engine, at, page = self.engine, self.engine.now, self.engine.counters
        failures = {("1", reason): float(count) for reason, count in engine.failures.items()}
        groups = {"1": Totals(engine.success, engine.request_s, engine.queue_s)} if engine.loaded else {}
        series = ModelSeries(groups, failures, len(engine.waiting)) if engine.touched else None
        engine.advance(self.LATER_S)
        self.hear()
        batching = engine.max_batch > 1
        config = ModelConfig(engine.instances, 1, engine.max_batch if batching else 0, batching, 0.0, ())
        state = ModelState.READY if engine.loaded else ModelState.UNLOADED
        state = ModelState.UNLOADING if engine.leaving else state
        ready = state is ModelState.READY
        self.unit.absorb_index(at, IndexEntry(state, touched=engine.touched), config if ready else None)
        executions = {("1", size): executed for size, executed in engine.sizes.items()}
        self.unit.absorb_series(at, series, executions if engine.loaded else None, "", together=True)
        return page | {f"{BATCHES} {size}": executed.times for size, executed in engine.sizes.items()}


class AsVllm(Reader):
    """An engine read as a vLLM: one page with waiting and executing requests. It begins and ends as a whole."""

    unit: PageUnit

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, PageUnit(MODEL))
        engine.counts_all = False

    @property
    def listens(self) -> bool:
        return self.engine.up and self.engine.loaded

    def happens(self, what: str) -> None:
        if what not in {"unload", "hot reload"}:
            super().happens(what)

    def miss(self, at: float, *, refused: bool) -> None:
        self.unit.missed(at, refused=refused)

    def scrape(self) -> dict[str, float]:
        self.unit.absorb(self.engine.now, self.served())
        return self.engine.counters

    def served(self) -> Served:
        engine = self.engine
        return Served(
            groups={"0": Totals(engine.success, engine.request_s, engine.queue_s)},
            failures={("0", reason): float(count) for reason, count in engine.failures.items()},
            waiting=len(engine.waiting),
            running=engine.running,
            first_tokens=engine.first_tokens,
        )


class WithoutGauges(AsVllm):
    """An engine whose page tells neither queue nor executing requests, and which counts all that ends."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        engine.counts_all = True

    def served(self) -> Served:
        return replace(super().served(), waiting=None, running=None, first_tokens=None)


def breaks_of(engine: Engine) -> dict[str, Callable[[], None]]:
    def restart() -> None:
        engine.crash()
        engine.start()
        engine.load()

    return {
        "unload": engine.unload,
        "load": engine.load,
        "hot reload": engine.hot_reload,
        "crash": engine.crash,
        "start": engine.start,
        "restart": restart,
    }


@dataclass
class Run:
    """A history played against a reader, and what it would take to see its resets.

    Of some changes no reader can see anything: a restart after which more was counted than before, instances taken away
    and given back and given back, a hot reload before anything was executed. Nothing is claimed from there on.
    """

    reader: Reader
    at: list[float] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    read_at: float = math.inf
    refused_at: float = -math.inf

    def play(self, steps: Sequence[Step]) -> bool:
        """Play all steps; False from the first reset on of which no reader can see anything."""
        engine = self.reader.engine
        for event, wait_s, read in [(("nothing",), 0.0, "scrape"), *steps]:
            engine.advance(MOMENT_S)
            self._happen(event)
            engine.advance(wait_s)
            self.reader.hear()
            if read and (read == "miss" or not self.reader.listens):
                self._miss(refused=not self.reader.listens)
            elif read and not self._scrape():
                return False
        return True

    def seen(self, steps: Sequence[Step]) -> list[Interval]:
        """The intervals of a history up to the first reset that leaves no trace."""
        visible = self.play(steps)
        found = list(self.reader.intervals)
        return found if visible else found[:-1]

    def _happen(self, event: Event) -> None:
        engine = self.reader.engine
        match event:
            case ("arrive", count, takes_s, fails):
                for _ in range(count):
                    engine.arrive(Request(engine.now, takes_s, fails))
            case ("probe", takes_s):
                self.reader.probe(takes_s)
            case ("instances", count):
                engine.set_instances(count)
            case ("cancel",):
                engine.cancel()
            case ("nothing",):
                pass
            case _:
                self.reader.happens(event[0])

    def _miss(self, *, refused: bool) -> None:
        self.reader.miss(self.reader.engine.now, refused=refused)
        self.refused_at = self.reader.engine.now if refused else self.refused_at

    def _scrape(self) -> bool:
        """Read; False where a reset since the reading before leaves no trace."""
        engine, reader, at = self.reader.engine, self.reader, self.reader.engine.now
        before, since = self.counters, max(self.read_at, self.refused_at)
        now = self.counters = reader.scrape()
        self.read_at = at
        self.at.append(at)
        untold, engine.reloaded = engine.left_untold or engine.reloaded, False
        if untold and not any(now.get(key, 0) < count for key, count in before.items() if key.startswith(BATCHES)):
            return False
        if not any(since < reset_at <= at for reset_at in engine.reset_at):
            return True
        if reader.intervals and reader.intervals[-1].end == at and reader.intervals[-1].began_anew:
            return True
        return not engine.loaded or any(now.get(key, 0) < count for key, count in before.items())


def truth(engine: Engine, intervals: Sequence[Interval]) -> int:
    return sum(1 for at in engine.arrived_at if any(i.start < at <= i.end for i in intervals))


def window(intervals: Sequence[Interval], length_s: float) -> Sequence[Interval]:
    """The newest intervals that together are so long."""
    for first in reversed(range(len(intervals))):
        if math.isclose(sum(i.length_s for i in intervals[first:]), length_s, rel_tol=1e-9, abs_tol=1e-9):
            return intervals[first:]
    raise AssertionError(f"no intervals make up {length_s} s")


def held(engine: Engine, intervals: Sequence[Interval]) -> None:
    """The truth lies inside the demand by each interval alone, and by all up to each."""
    for last in range(len(intervals)):
        for past in (intervals[last : last + 1], intervals[: last + 1]):
            demand = estimate(past, past[-1].end, 30.0, engine.max_batch)
            assert demand is not None
            seen = window(past, demand.window_s)
            came = truth(engine, seen) / demand.window_s
            assert demand.low_per_s - 1e-9 <= came <= demand.high_per_s + 1e-9
            assert demand.low_per_s - 1e-9 <= demand.likely_high_per_s <= demand.high_per_s + 1e-9
            assert math.isfinite(demand.likely_high_per_s)


Readable: TypeAlias = type[AsTriton | AsVllm | WithoutGauges]
readers = pytest.mark.parametrize("reader", [AsTriton, AsVllm, WithoutGauges])


@readers
@given(engine=ENGINES, steps=WILD)
def test_the_truth_lies_inside_whatever_happens(reader: Readable, engine: Engine, steps: list[Step]) -> None:
    held(engine, Run(reader(engine)).seen(steps))


QUICK, SLOW = (("arrive", 1, 0.01, False), 0.05, "scrape"), (("arrive", 9, 4.0, False), 0.6, "scrape")
THEN, LATER = (("nothing",), 0.6, "scrape"), (("nothing",), 5.0, "scrape")
TRAPS: dict[str, tuple[int, int, list[Step]]] = {
    "a batch larger than any before": (1, 8, [QUICK, SLOW, LATER, LATER]),
    "instances that end their batch after they were taken away": (
        3,
        1,
        [SLOW, (("instances", 1), 0.6, "scrape"), THEN, LATER],
    ),
    "a hot reload beside which the old instances go on": (
        2,
        1,
        [QUICK, SLOW, (("hot reload",), 0.6, "scrape"), THEN, LATER],
    ),
    "a crash with work in flight": (1, 4, [SLOW, (("crash",), 0.6, "scrape"), (("restart",), 0.6, "scrape"), QUICK]),
    "a restart nobody saw": (1, 4, [QUICK, QUICK, SLOW, (("restart",), 0.6, "scrape"), QUICK]),
    "a restart after which more was counted": (
        1,
        1,
        [QUICK, (("restart",), 0.05, ""), (("arrive", 3, 0.01, False), 0.6, "scrape")],
    ),
    "an outage in which everything began anew": (1, 4, [QUICK, (("restart",), 5.0, "miss"), QUICK]),
}


@readers
@pytest.mark.parametrize("trap", TRAPS)
def test_the_truth_lies_inside_where_it_was_missed_before(reader: Readable, trap: str) -> None:
    instances, max_batch, steps = TRAPS[trap]
    engine = Engine(instances, max_batch)
    held(engine, Run(reader(engine)).seen(steps))


@given(engine=ENGINES, steps=WILD)
def test_it_is_a_point_wherever_waiting_and_executing_requests_are_read(engine: Engine, steps: list[Step]) -> None:
    for interval in Run(AsVllm(engine)).seen(steps):
        demand = estimate([interval], interval.end, 30.0, engine.max_batch)
        assert demand is not None
        sure = not (interval.began_anew or interval.probes_start or interval.probes_end)
        assert not sure or demand.low_per_s == demand.likely_high_per_s == demand.high_per_s


@given(engine=ENGINES, steps=WILD)
def test_what_is_not_observed_is_never_taken_for_nothing(engine: Engine, steps: list[Step]) -> None:
    found = Run(WithoutGauges(engine)).seen(steps)
    for last in range(len(found)):
        demand = estimate(found[: last + 1], found[last].end, 30.0, engine.max_batch)
        assert demand is not None
        assert demand.high_per_s == math.inf
        assert estimate(found[: last + 1], found[last].end + 31.0, 30.0, engine.max_batch) is None


@readers
@given(engine=ENGINES, steps=WILD)
def test_intervals_do_not_overlap_and_nothing_is_counted_twice(
    reader: Readable, engine: Engine, steps: list[Step]
) -> None:
    run = Run(reader(engine))
    run.play(steps)
    edge = 0.0
    for interval in run.reader.intervals:
        assert edge <= interval.start < interval.end
        assert 0 <= interval.probes <= interval.completed
        edge = interval.end
    assert sum(interval.completed for interval in run.reader.intervals) <= len(engine.answered_at)


def test_who_was_given_up_before_a_restart_is_not_counted_again_after_it() -> None:
    engine = Engine(instances=1, max_batch=1, full_at=3, timeout_s=2.5)
    slow, restarted = (("arrive", 9, 4.0, False), 0.05, "scrape"), (("arrive", 9, 0.01, False), 0.05, "scrape")
    crash: list[Step] = [(("crash",), 0.05, "scrape"), (("nothing",), 0.05, "scrape"), (("restart",), 0.05, "miss")]
    run = Run(AsVllm(engine))
    run.play([QUICK, slow, QUICK, QUICK, QUICK, (("cancel",), 5.0, "scrape"), QUICK, *crash, restarted])
    assert sum(interval.completed for interval in run.reader.intervals) <= len(engine.answered_at)


@readers
@given(engine=ENGINES, steps=CALM)
def test_without_resets_everything_between_the_first_and_the_last_reading_is_counted_once(
    reader: Readable, engine: Engine, steps: list[Step]
) -> None:
    run = Run(reader(engine))
    assume(run.play(steps))  # an instance that goes while it executes may leave a reset that nothing tells
    counted = [at for at in engine.answered_at if run.at[0] < at <= run.reader.last_read_at]
    assert sum(interval.completed for interval in run.reader.intervals) == len(counted)


@readers
@given(engine=ENGINES, steps=WILD)
def test_it_is_a_lower_bound_where_anything_tells_that_requests_were_turned_away(
    reader: Readable, engine: Engine, steps: list[Step]
) -> None:
    for interval in Run(reader(engine)).seen(steps):
        demand = estimate([interval], interval.end, 30.0, engine.max_batch)
        assert demand is not None
        told = any(interval.start < at <= interval.end for at in engine.own_turned_away_at)
        assert demand.censored == (interval.rejected > 0 or interval.turned_away)
        assert interval.turned_away or not told
        rejected = [at for at in engine.rejected_at if interval.start < at <= interval.end]
        assert interval.began_anew or interval.rejected == len(rejected)
