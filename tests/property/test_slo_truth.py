"""Whatever happens and whenever it is read: what the store sums up in a window against what really happened then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from controlplane.collect.servers import scraped
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.vllm.server import VllmServer
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.observation import Interval, LatencyInterval
from controlplane.domain.records import TickRecord
from controlplane.domain.signal import Known
from controlplane.domain.state import PolicyState
from controlplane.slo.indicators import close_slices
from controlplane.store import SqlStore, open_store
from tests.property.test_collect_counters import SPEC, TrueTriton, between
from tests.unit.collect.pages import absorb, histogram_page

START = 1_800_000_000.0
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.999, 86400.0, IndicatorSource.SERVER)
EDGES = (0.1, 0.25, 0.5, 1.0)
VLLM = ServerSpec("v", ServerKind.VLLM, "", "")


@dataclass(frozen=True)
class Phase:
    """A time with a load of its own: requests come, and of those some fail; a break happens at its end."""

    length_s: float
    per_s: float
    bad_share: float
    then: str = ""


BUSY = st.builds(Phase, st.sampled_from([7.0, 31.0, 64.0]), st.sampled_from([0.5, 2.0]), st.sampled_from([0.0, 0.1]))
QUIET = st.builds(Phase, st.sampled_from([16.0, 90.0]), st.sampled_from([0.02, 0.1]), st.sampled_from([0.0, 0.5]))
IDLE = st.builds(Phase, st.sampled_from([11.0, 45.0, 130.0]), st.just(0.0), st.just(0.0))
BREAKS = st.sampled_from(["unload", "load", "kill", "start", "restart"])
BREAK = st.builds(Phase, st.sampled_from([0.5, 4.0, 27.0]), st.sampled_from([0.0, 1.0]), st.just(0.1), BREAKS)
CALM = st.lists(st.one_of(BUSY, QUIET, IDLE), min_size=1, max_size=6)
"""Diurnal in small: busy and quiet times, and idle ones."""
WILD = st.lists(st.one_of(BUSY, QUIET, IDLE, BREAK), min_size=1, max_size=9)
READS = st.lists(
    st.tuples(st.sampled_from([4.3, 5.0, 5.9, 23.0]), st.sampled_from(["scrape"] * 5 + ["miss"])), min_size=1
)
"""How long after the one before, and whether it succeeds; begun again where the list ends."""
SEEDS = st.integers(0, 2**32 - 1)
_names = itertools.count()


@dataclass
class History:
    """What happened in order: (moment, event), events being those that TrueTriton knows and the attempts to read."""

    steps: list[tuple[float, str]] = field(default_factory=list)
    end: float = START


def history(phases: Sequence[Phase], reads: Sequence[tuple[float, str]], chance: Random) -> History:
    made = History()
    for phase in phases:
        begun, made.end = made.end, made.end + phase.length_s
        for _ in range(round(phase.length_s * phase.per_s)):
            at = begun + chance.random() * phase.length_s
            made.steps.append((at, "fail" if chance.random() < phase.bad_share else "answer"))
        breaks = ("kill", "start", "load") if phase.then == "restart" else (phase.then,) if phase.then else ()
        made.steps += [(made.end + i * 1e-3, what) for i, what in enumerate(breaks)]
    at = START
    for wait_s, what in itertools.cycle(reads):
        at += wait_s
        if at > made.end:
            break
        made.steps.append((at, what))
    made.steps.sort()
    return made


@pytest.fixture(scope="module")
def store() -> SqlStore:
    return open_store("sqlite://")


def kept(
    store: SqlStore,
    objective: Objective,
    intervals: Sequence[Interval],
    latencies: Sequence[LatencyInterval],
    end: float,
) -> str:
    """Close all slices up to a moment and write them, ten minutes at a time; gives the name they are kept by."""
    model = ModelSpec(f"m{next(_names)}", "m", ("t",), Mode.OBSERVE, objectives=(objective,))
    until = math.ceil(end / SLICE_S + 1) * SLICE_S
    slices = close_slices(model, [("t", tuple(intervals))], tuple(latencies), (), since=START, until=until)
    for first in range(0, len(slices), 60):
        store.write_tick(TickRecord(START, slices[first : first + 60], (), (), PolicyState()))
    return model.name


def windows(chance: Random, end: float) -> list[tuple[float, float]]:
    """Some windows that begin and end with slices, and the whole."""
    last = math.ceil((end - START) / SLICE_S) + 1
    drawn = [sorted(chance.sample(range(last + 1), 2)) for _ in range(6)]
    return [(START + low * SLICE_S, START + high * SLICE_S) for low, high in [*drawn, [0, last]]]


def of_triton(made: History) -> tuple[TrueTriton, list[float], list[Interval]]:
    """What a Triton did, when it was read, and what the collector makes of that."""
    triton, reads = TrueTriton(), []
    model = ModelSpec("m", "m", ("t",), Mode.OBSERVE)
    server = TritonServer(SPEC, [model], scraped(SPEC, [model]), max_age_s=60, keep_s=1e9)
    for at, what in made.steps:
        if what not in {"scrape", "miss"}:
            triton.do(what, at)
            continue
        server.absorb(triton.answers(at, page=what == "scrape"))
        if what == "scrape" and triton.up and triton.loaded:
            reads.append(at)
    reading = server.reading(made.end).models["m"]
    return triton, reads, list(reading.value.intervals) if isinstance(reading, Known) else []


@given(CALM, READS, SEEDS)
@settings(deadline=None)
def test_what_was_between_two_scrapes_is_counted_exactly_in_every_window(
    store: SqlStore, phases: list[Phase], reads: list[tuple[float, str]], seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - a made-up history
    made = history(phases, reads, chance)
    triton, scrapes, intervals = of_triton(made)
    name = kept(store, AVAILABILITY, intervals, (), made.end)
    for since, until in windows(chance, made.end):
        counts = store.counts(name, AVAILABILITY.key, since, until)
        # an interval counts in the slice that holds its end: from the last scrape before to the last one within
        first, last = (max((at for at in scrapes if at < edge), default=-math.inf) for edge in (since, until))
        first = max(first, scrapes[0] if scrapes else math.inf)
        assert counts.good == between(triton.answered_at, first, last)
        assert counts.bad == between(triton.failed_at, first, last)
        assert counts.unsure == 0
        # of the window itself as many are uncertain as came between the scrapes at its edges
        true = between(triton.answered_at + triton.failed_at, since, until)
        begun, ended = between_scrapes(triton, scrapes, since), between_scrapes(triton, scrapes, until)
        assert abs(counts.events - true) <= begun + ended
        seen_s = sum(max(0.0, min(i.end, until) - max(i.start, since)) for i in intervals)
        assert counts.measured_s == pytest.approx(seen_s, abs=1e-3)
        assert counts.expected_s == until - since


def between_scrapes(triton: TrueTriton, scrapes: Sequence[float], moment: float) -> int:
    """Events between the scrapes before and after a moment, or all before the first or after the last one."""
    before = max((at for at in scrapes if at < moment), default=-math.inf)
    after = min((at for at in scrapes if at >= moment), default=math.inf)
    return between(triton.answered_at + triton.failed_at, before, after)


@given(WILD, READS, SEEDS)
@settings(deadline=None)
def test_what_breaks_lose_is_bounded_and_coverage_or_a_reset_tells_where(
    store: SqlStore, phases: list[Phase], reads: list[tuple[float, str]], seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - a made-up history
    made = history(phases, reads, chance)
    triton, scrapes, intervals = of_triton(made)
    name = kept(store, AVAILABILITY, intervals, (), made.end)
    before = {i: max((at for at in scrapes if at < i.end), default=-math.inf) for i in intervals}
    for since, until in windows(chance, made.end):
        counts = store.counts(name, AVAILABILITY.key, since, until)
        inside = [i for i in intervals if since <= i.end < until]
        resets = {i: [at for at in triton.reset_at if before[i] < at <= i.end] for i in inside}
        # all is counted where nothing began anew; in no interval more than came since the reading before
        least = [(i.start, i.end) for i in inside if not resets[i]]
        most = [(before[i], i.end) for i in inside]
        assert truly(triton.answered_at, least) <= counts.good <= truly(triton.answered_at, most)
        assert truly(triton.failed_at, least) <= counts.bad <= truly(triton.failed_at, most)
        assert counts.measured_s <= counts.expected_s + 1e-6
        whole = inside and math.isclose(counts.measured_s, counts.expected_s)
        event(f"all measured: {bool(whole)}, resets: {any(resets.values())}, events: {counts.events > 0}")
        if whole and not any(resets.values()):
            exact = [(inside[0].start, inside[-1].end)]
            assert (counts.good, counts.bad) == (truly(triton.answered_at, exact), truly(triton.failed_at, exact))


def truly(times: Sequence[float], spans: Sequence[tuple[float, float]]) -> int:
    return sum(between(list(times), start, end) for start, end in spans)


@dataclass
class TrueVllm:
    """Times requests, and counts them by bucket since it began."""

    up: bool = True
    counts: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    told: list[tuple[float, float]] = field(default_factory=list)
    reset_at: list[float] = field(default_factory=list)

    def answer(self, at: float, took_s: float) -> None:
        if self.up:
            self.counts[next((i for i, edge in enumerate(EDGES) if took_s <= edge), len(EDGES))] += 1
            self.told.append((at, took_s))

    def page(self) -> str:
        cumulative = dict(zip((*map(str, EDGES), "+Inf"), itertools.accumulate(self.counts), strict=True))
        gauges = "".join(f'vllm:num_requests_{s}{{model_name="m",engine="0"}} 0\n' for s in ("running", "waiting"))
        return gauges + histogram_page("vllm:e2e_request_latency_seconds", cumulative, model_name="m", engine="0")


@given(
    WILD,
    READS,
    st.sampled_from([0.05, 0.1, 0.25, 0.3, 0.7, 1.0, 2.0]),
    SEEDS,
)
@settings(deadline=None)
def test_a_threshold_within_a_bucket_gives_bounds_that_hold_the_truth(
    store: SqlStore, phases: list[Phase], reads: list[tuple[float, str]], threshold_s: float, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - a made-up history
    made = history(phases, reads, chance)
    vllm, model = TrueVllm(), ModelSpec("m", "m", ("v",), Mode.OBSERVE)
    server = VllmServer(VLLM, [model], scraped(VLLM, [model]), max_age_s=60, keep_s=1e9)
    for at, what in made.steps:
        if what == "scrape" and vllm.up:
            absorb(server, at, vllm.page())
        elif what in {"scrape", "miss"}:
            server.missed(at, TargetUnreachableError("v", "no answer"))
        elif what in {"answer", "fail"}:
            vllm.answer(at, chance.choice([0.02, 0.1, 0.2, 0.26, 0.5, 0.8, 3.0]))
        elif what == "kill":
            vllm.up, vllm.counts = False, [0] * (len(EDGES) + 1)
            vllm.reset_at.append(at)
        elif what == "start":
            vllm.up = True
    objective = Objective(Indicator.E2E, 0.95, 86400.0, IndicatorSource.SERVER, threshold_s=threshold_s)
    latencies = list(server.latencies()["m"])
    name = kept(store, objective, (), latencies, made.end)
    for since, until in windows(chance, made.end):
        counts = store.counts(name, objective.key, since, until)
        inside = [i for i in latencies if since <= i.end < until]
        told = [took for at, took in vllm.told if any(i.start < at <= i.end for i in inside)]
        good = sum(took <= threshold_s for took in told)
        if not vllm.reset_at:
            assert counts.events == len(told)
            assert counts.good <= good <= counts.good + counts.unsure
            assert counts.bad <= len(told) - good <= counts.bad + counts.unsure
        if threshold_s in EDGES:
            assert counts.unsure == 0
