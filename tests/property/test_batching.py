"""Whatever was seen: advice is the same again, keeps the objective by its own model, and rests on what is there."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.advising import reason
from controlplane.decide.batching import BatchingAdvice, Worked, advise, onward, work
from controlplane.decide.explain import reason_text
from controlplane.decide.learning import curve
from controlplane.decide.queueing import BatchLine, latency_s
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.observation import BatchCount, Interval
from controlplane.domain.state import BatchSum
from tests.unit.decide.values import an_interval

SIZES = (1, 2, 4, 8, 16)
delays = st.floats(0.02, 0.2)
KNOBS = {
    BatchingCase.UNBATCHED: st.just(BatchingKnobs(8, dynamic=False)),
    BatchingCase.BATCH_LIMIT: st.sampled_from([BatchingKnobs(8), BatchingKnobs(4, max_queue_delay_s=0.002)]),
    BatchingCase.DELAY_TOO_LONG: st.builds(BatchingKnobs, st.just(8), max_queue_delay_s=delays),
    BatchingCase.PREFERRED_UNREACHED: st.builds(
        BatchingKnobs, st.just(8), max_queue_delay_s=delays, preferred_sizes=st.sampled_from([(4,), (6, 8)])
    ),
}
EXECUTED: dict[BatchingCase, list[tuple[tuple[int, int], ...]]] = {
    BatchingCase.UNBATCHED: [((1, 900),), ((1, 900), (4, 50))],
    BatchingCase.BATCH_LIMIT: [((2, 90), (8, 900)), ((2, 900), (8, 600))],
    BatchingCase.DELAY_TOO_LONG: [((1, 900), (2, 90)), ((1, 900),)],
    BatchingCase.PREFERRED_UNREACHED: [((1, 900), (3, 90)), ((1, 900), (5, 90))],
}


@st.composite
def situations(draw: st.DrawFn) -> tuple[Worked, BatchingKnobs]:
    """What was done under which configuration: about one of the cases, on both sides of its marks."""
    case = draw(st.sampled_from(BatchingCase))
    now = draw(KNOBS[case])
    mean_s = draw(st.floats(0.05, 0.5))
    calm = case in (BatchingCase.DELAY_TOO_LONG, BatchingCase.PREFERRED_UNREACHED)
    worked = Worked(
        covered_s=300.0,
        arrivals_per_s=draw(st.floats(1.0, 20.0 if calm else 200.0)),
        mean_s=mean_s,
        queue_s=mean_s * draw(st.sampled_from([0.3, 0.45, 0.6, 0.9, 0.9])),
        items=draw(st.sampled_from([1.0, 1.0, 2.5])),
        busy=draw(st.sampled_from([0.1, 0.45, 0.55] if calm else [0.3, 0.6, 0.75, 0.95, 1.05])),
        sizes=draw(st.sampled_from(EXECUTED[case])),
        execution_s=draw(st.floats(0.01, 0.05)),
    )
    return worked, now


@st.composite
def sums(draw: st.DrawFn) -> tuple[BatchSum, ...]:
    """Learned times about a line, with noise."""
    fixed_s, per_item_s = draw(st.floats(0.0, 0.05)), draw(st.floats(0.0005, 0.01))
    found = []
    for size in draw(st.sampled_from([SIZES, SIZES, SIZES[:4], SIZES[:2], SIZES[2:4], SIZES[:1]])):
        executions = draw(st.sampled_from([19.0, 2000.0, 2000.0]))
        takes_s = (fixed_s + per_item_s * size) * draw(st.floats(0.9, 1.1))
        found.append(BatchSum(size, draw(st.sampled_from([1, 1, 1, 2])), executions, executions * takes_s))
    return tuple(found)


objectives = st.sampled_from([(None, 0.0), (0.05, 0.9), (0.2, 0.99), (1.0, 0.99)])
tolds = st.sampled_from([None, *BatchingCase])


def line_of(advice: BatchingAdvice, learned: tuple[BatchSum, ...], count: int) -> BatchLine:
    """What the advice rests on."""
    if advice.case in (BatchingCase.UNBATCHED, BatchingCase.BATCH_LIMIT):
        line = onward(learned, count, advice.then.max_batch_size)
        assert line is not None
        return line
    service = curve(learned, max(1, advice.then.max_batch_size))
    assert service is not None
    return service.line(count)


@given(situations(), sums(), st.integers(1, 4), objectives, tolds)
@settings(max_examples=500, deadline=None)
def test_advice_is_repeatable_worth_it_and_inside_the_objective(
    situation: tuple[Worked, BatchingKnobs],
    learned: tuple[BatchSum, ...],
    count: int,
    objective: tuple[float | None, float],
    told: BatchingCase | None,
) -> None:
    worked, now = situation
    advice = advise(worked, now, learned, count, objective, told)
    assert advice == advise(worked, now, learned, count, objective, told)
    if advice is None:
        return
    assert advice.then != now
    assert advice.then.max_queue_delay_s <= now.max_queue_delay_s
    assert not set("{}") & set(reason_text(reason(advice)))
    gain = advice.gain
    if gain is None:
        return
    if advice.case in (BatchingCase.UNBATCHED, BatchingCase.BATCH_LIMIT):
        assert gain.capacity_after_per_s >= 1.08 * gain.capacity_before_per_s > 0
    else:
        assert gain.latency_after_s is not None
        assert gain.latency_after_s <= 0.92 * gain.latency_before_s
    threshold_s, share = objective
    if threshold_s is not None:
        line = line_of(advice, learned, count)
        rate_per_s = 0.999 * gain.capacity_after_per_s * worked.items
        assert latency_s(line, count, rate_per_s, share) <= threshold_s - advice.then.max_queue_delay_s


@given(situations(), st.integers(1, 4), objectives, tolds)
def test_without_learned_times_no_gain_is_promised(
    situation: tuple[Worked, BatchingKnobs],
    count: int,
    objective: tuple[float | None, float],
    told: BatchingCase | None,
) -> None:
    worked, now = situation
    advice = advise(worked, now, (), count, objective, told)
    assert advice is None or (advice.case is BatchingCase.UNBATCHED and advice.gain is None)


times = st.floats(0.0, 1e4)


@st.composite
def seen(draw: st.DrawFn, *, statistics: bool) -> tuple[Interval, ...]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        completed = draw(st.integers(0, 2000))
        counted = draw(st.dictionaries(st.sampled_from(SIZES), st.integers(0, 500))) if statistics else {}
        batches = tuple(BatchCount(size, times, times * draw(st.floats(0.0, 0.2))) for size, times in counted.items())
        changes = {
            "failed": draw(st.integers(0, completed)),
            "batches": batches,
            "request_s": draw(times),
            "queue_s": draw(times),
            "pending_start": draw(st.one_of(st.none(), st.integers(0, 3000))),
            "pending_end": draw(st.one_of(st.none(), st.integers(0, 3000))),
            "instances": draw(st.integers(0, 4)),
        }
        found.append(an_interval(60.0 * number, 60.0 * (number + 1), completed, **changes))
    return tuple(found)


@given(seen(statistics=False))
def test_where_statistics_were_not_read_nothing_is_known_of_the_work(intervals: tuple[Interval, ...]) -> None:
    assert work(intervals) is None


@given(seen(statistics=True))
@settings(max_examples=200)
def test_what_is_known_of_the_work_is_finite_and_rests_on_executions(intervals: tuple[Interval, ...]) -> None:
    worked = work(intervals)
    if worked is not None:
        assert worked.executions > 0
        figures = (worked.arrivals_per_s, worked.mean_s, worked.queue_s, worked.items, worked.execution_s)
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
        assert 0 <= worked.busy <= 1.05
