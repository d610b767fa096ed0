from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.collect.counters import Executed, Executions
from controlplane.collect.exposition import parse
from controlplane.collect.http import REFUSED
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.servers import only_page, scraped, server_reader
from controlplane.collect.triton.page import TritonPage
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import IndexEntry, ModelConfig, read_series
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ProbeSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, ModelReading, ModelState
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import Through
from tests.unit.collect.pages import triton_page

SPEC = ServerSpec("t", ServerKind.TRITON, "", "")
READY = IndexEntry(ModelState.READY, touched=True)
UNLOADED = IndexEntry(ModelState.UNLOADED, touched=True)
NEVER_LOADED = IndexEntry(ModelState.UNLOADED, touched=False)
TIMED_OUT = TargetUnreachableError("t", "no answer within 2 s")
GONE = TargetUnreachableError("t", REFUSED)
EXPLICIT = Known(ControlMode.EXPLICIT, 0.0)


def config(instances: int = 2, max_batch_size: int = 8) -> ModelConfig:
    return ModelConfig(
        instances,
        1,
        max_batch_size,
        dynamic_batching=True,
        max_queue_delay_s=0.002,
        gpus=(0, 1),
        preferred_batch_sizes=(4,),
    )


def server(*models: str, max_age_s: float = 15) -> TritonServer:
    specs = [ModelSpec(name, name, ("t",), Mode.ACT) for name in models or ("m",)]
    return TritonServer(SPEC, specs, scraped(SPEC, specs), max_age_s=max_age_s, keep_s=900)


def answers(
    at: float,
    page: str | ControlPlaneError,
    *,
    entry: IndexEntry | ControlPlaneError = READY,
    stats: dict[str, Executions] | ControlPlaneError | None = None,
    configs: dict[str, ModelConfig | ControlPlaneError] | None = None,
) -> TritonRound:
    index = entry if isinstance(entry, ControlPlaneError) else {"m": entry, "n": entry}
    series = page if isinstance(page, ControlPlaneError) else read_series(parse(page, TRITON.wanted))
    return TritonRound(at, index, series, stats or {}, configs or {"m": config(), "n": config()})


def down(at: float, why: ControlPlaneError = TIMED_OUT) -> TritonRound:
    return TritonRound(at, why, why, why, {})


def model(triton: TritonServer, now: float, name: str = "m") -> ModelReading:
    signal = triton.reading(now).models[name]
    assert isinstance(signal, Known)
    return signal.value


def test_a_server_never_read_is_missing_and_not_dead() -> None:
    reading = server().reading(10)
    assert isinstance(reading.live, Missing)
    assert isinstance(reading.models["m"], Missing)
    assert isinstance(reading.control, Missing)


def test_a_server_that_never_answered_says_why_its_models_are_missing() -> None:
    triton = server()
    triton.absorb(down(5))
    reading = triton.reading(6)
    assert reading.live == Known(value=False, observed_at=5)
    assert reading.models["m"] == Missing("t: no answer within 2 s")


def test_a_ready_model_is_read_whole() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=10, pending=3)))
    triton.absorb(answers(10, triton_page(success=17, pending=4), stats={"m": {("1", 4): Executed(9, 9)}}))
    reading = model(triton, 11)
    assert (reading.state, reading.instances) == (ModelState.READY, Known(2, 10))
    assert (reading.pending, reading.gpus) == (Known(4, 10), ("t/0", "t/1"))
    assert (reading.max_batch_size, reading.dynamic_batching, reading.max_queue_delay_s) == (8, True, 0.002)
    assert (reading.preferred_batch_sizes, reading.other_scheduler) == ((4,), False)
    (interval,) = reading.intervals
    assert (interval.completed, interval.pending_start, interval.pending_end) == (7, 3, 4)
    assert interval.running_max == 16  # before any execution is known, every instance could hold a full batch


def test_what_can_execute_is_bounded_by_the_configuration_and_likely_by_the_largest_batch_seen() -> None:
    triton = server()
    for at in (5, 10, 15):
        triton.absorb(answers(at, triton_page(), stats={"m": {("1", 3): Executed(1, 1), ("1", 8): Executed(0, 0)}}))
    found = model(triton, 15).intervals
    assert [(interval.running_max, interval.running_seen_max) for interval in found] == [(16, 6), (16, 6)]


def test_models_go_stale_with_their_last_values_when_the_server_stops_answering() -> None:
    triton = server(max_age_s=15)
    triton.absorb(answers(5, triton_page(pending=7)))
    triton.absorb(down(10))
    triton.absorb(down(21))
    reading = triton.reading(21)
    signal = reading.models["m"]
    assert reading.live == Known(value=False, observed_at=21)
    assert isinstance(signal, Stale)
    assert (signal.age_s, signal.why) == (16, "t: no answer within 2 s")
    assert signal.value.state is ModelState.READY
    assert isinstance(signal.value.pending, Stale)
    assert signal.value.pending.value == 7


@pytest.mark.parametrize(
    "page", [TIMED_OUT, MalformedPageError("t: cut short"), "", triton_page(pending="Nan"), triton_page("other")]
)
def test_without_counters_the_state_is_known_and_what_is_counted_is_missing(page: str | ControlPlaneError) -> None:
    triton = server()
    for at in (5, 10, 15):
        triton.absorb(answers(at, page))
    reading = model(triton, 15)
    assert (reading.state, reading.instances, reading.intervals) == (ModelState.READY, Known(2, 15), ())
    assert isinstance(reading.pending, Missing)


def test_a_bad_page_between_good_ones_costs_no_count() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=10)))
    triton.absorb(answers(10, triton_page(success=10, pending="Nan")))
    triton.absorb(answers(15, ""))
    triton.absorb(answers(20, triton_page(success=22)))
    (interval,) = model(triton, 20).intervals
    assert (interval.start, interval.end, interval.completed) == (5, 20, 12)


def test_counters_without_an_index_still_count() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=10)))
    triton.absorb(TritonRound(10, TIMED_OUT, read_series(parse(triton_page(success=13), TRITON.wanted)), {}, {}))
    assert triton.reading(10).live == Known(value=True, observed_at=10)
    assert [interval.completed for interval in model(triton, 10).intervals] == [3]


def test_a_configuration_never_read_leaves_instances_and_intervals_missing() -> None:
    triton = server()
    for at in (5, 10):
        triton.absorb(answers(at, triton_page(), configs={"m": TIMED_OUT}))
    reading = model(triton, 10)
    assert reading.instances == Missing("configuration not read")
    assert reading.intervals == ()


def test_unloaded_and_absent_models_are_known_to_have_no_instances() -> None:
    triton = server("m", "gone")
    triton.absorb(answers(5, triton_page(loaded=False), entry=UNLOADED))
    assert model(triton, 5).state is ModelState.UNLOADED
    assert model(triton, 5).instances == Known(0, 5)
    assert isinstance(model(triton, 5).pending, Missing)
    assert model(triton, 5, "gone").state is ModelState.ABSENT


def test_a_loading_model_has_no_known_instances() -> None:
    triton = server()
    triton.absorb(answers(5, "", entry=IndexEntry(ModelState.LOADING, touched=True)))
    assert model(triton, 5).instances == Missing("the model is loading")


def test_a_reload_counts_from_the_last_page_without_the_model() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=50, backend=3)))
    triton.absorb(answers(10, triton_page(backend=3, loaded=False), entry=UNLOADED))
    triton.absorb(answers(15, triton_page(success=4, backend=3)))
    (interval,) = model(triton, 15).intervals
    assert (interval.start, interval.completed, interval.failed) == (10, 4, 0)
    assert triton.reading(15).incarnation == 0


def test_what_an_unloading_model_still_answers_is_counted() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=50)))
    triton.absorb(answers(10, triton_page(success=53), entry=IndexEntry(ModelState.UNLOADING, touched=True)))
    (interval,) = model(triton, 10).intervals
    assert (interval.completed, interval.instances) == (3, 2)


def test_series_that_outlive_an_unload_do_not_make_the_time_unloaded_part_of_an_interval() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=50)))
    for at in range(10, 1000, 5):
        triton.absorb(answers(at, triton_page(success=50), entry=UNLOADED))
    triton.absorb(answers(1000, triton_page(success=54)))
    (interval,) = model(triton, 1000).intervals
    assert (interval.start, interval.completed) == (995, 4)


def test_control_is_kept_until_the_server_goes_down() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page()))
    triton.set_control(EXPLICIT)
    triton.absorb(answers(10, triton_page()))
    assert triton.reading(10).control == EXPLICIT
    triton.absorb(down(15))
    assert isinstance(triton.reading(15).control, Missing)


def test_a_server_that_was_not_there_in_between_has_restarted() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=5)))
    triton.absorb(down(10, GONE))
    assert triton.reading(10).incarnation == 0
    triton.absorb(answers(15, "", entry=NEVER_LOADED))
    triton.absorb(answers(20, "", entry=NEVER_LOADED))
    assert triton.reading(20).incarnation == 1


def test_a_server_that_only_did_not_answer_in_time_has_not_restarted() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=5)))
    triton.absorb(down(10))
    triton.absorb(answers(15, triton_page(success=5)))
    assert triton.reading(15).incarnation == 0


def test_a_model_that_is_no_longer_touched_tells_of_a_restart_once() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=5)))
    triton.set_control(EXPLICIT)
    for at in (10, 15):
        triton.absorb(answers(at, "", entry=NEVER_LOADED))
    assert triton.reading(15).incarnation == 1
    assert isinstance(triton.reading(15).control, Missing)


def test_failure_counters_that_went_down_tell_of_a_restart() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(success=5, rejected=2)))
    triton.absorb(answers(10, triton_page(success=9, rejected=0)))
    assert triton.reading(10).incarnation == 1


def test_all_counters_going_down_tells_of_a_restart_and_one_model_s_alone_does_not() -> None:
    triton = server("m", "n")
    triton.absorb(answers(5, triton_page("m", success=5) + triton_page("n", success=50)))
    triton.absorb(answers(10, triton_page("m", success=2) + triton_page("n", success=51)))
    assert triton.reading(10).incarnation == 0
    triton.absorb(answers(15, triton_page("m", success=1) + triton_page("n", success=1)))
    assert triton.reading(15).incarnation == 1


def test_instances_are_not_believed_over_a_restart() -> None:
    triton = server()
    triton.absorb(answers(5, triton_page(rejected=1)))
    triton.absorb(answers(10, triton_page(), configs={"m": TIMED_OUT}))
    assert model(triton, 10).instances == Missing("configuration not read")


def test_a_model_is_probed_only_where_it_is_ready_and_its_server_answers() -> None:
    triton = server()
    assert not triton.ready("m")
    triton.absorb(answers(5, triton_page()))
    assert triton.ready("m")
    triton.absorb(down(10))
    assert not triton.ready("m")
    triton.absorb(answers(15, "", entry=UNLOADED))
    assert not triton.ready("m")


def test_the_past_is_kept_for_a_while_only() -> None:
    triton = server()
    for at in range(0, 2000, 5):
        triton.absorb(answers(at, triton_page(success=at)))
    kept = model(triton, 1995).intervals
    assert kept[0].end == 1095
    assert len(kept) == 181


def test_an_old_page_is_no_idleness_and_the_next_one_makes_up_for_it() -> None:
    triton = server()
    served: list[dict[str, Executions]] = [{"m": {("1", 1): Executed(times, 0)}} for times in (10, 15, 19, 24)]
    for at, success, stats in zip((5, 10, 15, 20), (10, 10, 10, 24), served, strict=True):
        triton.absorb(answers(at, triton_page(success=success), stats=stats))
        if at in (10, 15):
            assert model(triton, at).intervals == ()
    (interval,) = model(triton, 20).intervals
    assert (interval.start, interval.end, interval.completed) == (5, 20, 14)


def through(at: float, series_at: float, page: str | ControlPlaneError, **more: Any) -> TritonRound:
    """A round whose counters somebody else read, at another moment."""
    return replace(answers(at, page, **more), series_at=series_at)


def test_counters_that_are_told_again_change_nothing() -> None:
    triton = server()
    triton.absorb(through(10, 8, triton_page(success=5)))
    triton.absorb(through(15, 8, triton_page(success=5)))
    assert not model(triton, 15).intervals
    triton.absorb(through(20, 18, triton_page(success=9, pending=2)))
    triton.absorb(through(25, 18, triton_page(success=9, pending=2)))
    (interval,) = model(triton, 25).intervals
    assert (interval.start, interval.end, interval.completed) == (8, 18, 4)
    assert model(triton, 25).pending == Known(2, 18)
    assert model(triton, 25).instances == Known(2, 25)


def test_statistics_ahead_of_counters_from_elsewhere_are_no_page_that_stands_still() -> None:
    triton = server()
    triton.absorb(through(10, 8, triton_page(success=5), stats={"m": {("1", 1): Executed(5, 50)}}))
    triton.absorb(through(20, 18, triton_page(success=5), stats={"m": {("1", 1): Executed(7, 70)}}))
    (interval,) = model(triton, 20).intervals
    assert (interval.completed, interval.end) == (0, 18)


def test_a_restart_is_noticed_once_though_the_counters_of_before_are_still_told() -> None:
    triton = server()
    triton.absorb(through(10, 8, triton_page(success=50)))
    triton.absorb(through(15, 8, triton_page(success=50), entry=GONE))
    triton.absorb(through(20, 8, triton_page(success=50)))
    assert triton.reading(20).incarnation == 1
    triton.absorb(through(25, 23, triton_page(success=3)))
    assert triton.reading(25).incarnation == 1
    assert [interval.completed for interval in model(triton, 25).intervals] == [3]


def test_counters_that_nobody_tells_of_grow_stale_with_the_reason() -> None:
    triton = server()
    triton.absorb(through(10, 8, triton_page(success=5, pending=1)))
    away = NotToldError("t: Prometheus p: connection refused")
    triton.absorb(answers(30, away))
    reading = model(triton, 30)
    assert triton.reading(30).live == Known(value=True, observed_at=30)  # its index was read
    assert reading.pending == Stale(1, 8, 22, "t: Prometheus p: connection refused")


def test_counters_alone_say_that_a_server_lived_when_they_were_read() -> None:
    triton = server()
    triton.absorb(through(10, 8, triton_page(success=5), entry=TIMED_OUT))
    assert triton.reading(10).live == Known(value=True, observed_at=8)


def test_a_triton_known_by_its_metrics_alone_counts_what_they_tell() -> None:
    spec = replace(SPEC, through=Through("p", (("job", "triton"),)))
    models = [ModelSpec(name, name, ("t",), Mode.OBSERVE) for name in ("m", "n")]
    triton = server_reader(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)
    assert isinstance(triton, TritonPage)
    n_unloaded = triton_page("n", loaded=False)
    triton.absorb(Metrics(8, parse(triton_page(success=5) + n_unloaded, TRITON.wanted)))
    triton.absorb(Metrics(18, parse(triton_page(success=9, backend=1, pending=3) + n_unloaded, TRITON.wanted)))
    reading = triton.reading(20)
    loaded, unloaded = reading.models["m"], reading.models["n"]
    assert isinstance(loaded, Known)
    assert loaded.value.state is ModelState.READY
    assert loaded.value.pending == Known(3, 18)
    assert [(i.completed, i.failed) for i in loaded.value.intervals] == [(5, 1)]
    assert unloaded == Missing("not loaded: nothing but its old failures is on the metrics page")


def test_a_triton_that_may_be_acted_on_or_probed_is_asked_itself_too() -> None:
    spec = replace(SPEC, through=Through("p", (("job", "triton"),)))
    observed = ModelSpec("m", "m", ("t",), Mode.OBSERVE)
    assert only_page(spec, [observed])
    assert not only_page(SPEC, [observed])
    assert not only_page(spec, [observed, replace(observed, name="n", mode=Mode.RECOMMEND)])
    assert not only_page(spec, [replace(observed, probe=ProbeSpec(30, 5))])
