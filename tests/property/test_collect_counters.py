"""Generated histories of a Triton: whatever was counted is right wherever both ends were read."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.collect.exposition import parse
from controlplane.collect.servers import scraped
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import IndexEntry, ModelConfig, read_series
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import Interval, ModelState
from controlplane.domain.signal import Known
from tests.unit.collect.pages import triton_page

SPEC = ServerSpec("t", ServerKind.TRITON, "", "")
CONFIG = ModelConfig(2, 1, 4, dynamic_batching=True, max_queue_delay_s=0.0, gpus=())


@dataclass
class TrueTriton:
    """Counts as Triton does, and remembers when what happened."""

    loaded: bool = True
    up: bool = True
    touched: bool = True
    success: int = 0
    failed: int = 0
    request_us: int = 0
    answered_at: list[float] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    reset_at: list[float] = field(default_factory=list)

    def do(self, event: str, at: float) -> None:
        if event == "answer" and self.up and self.loaded:
            self.success += 1
            self.request_us += 1000
            self.answered_at.append(at)
        elif event == "fail" and self.up and self.loaded:
            self.failed += 1
            self.failed_at.append(at)
        elif event == "unload" and self.up:
            self._reset(at)
            self.loaded = False
        elif event == "load" and self.up:
            self.loaded = self.touched = True
        elif event == "kill":
            self.up = False
        elif event == "start" and not self.up:
            self._reset(at)
            self.up, self.loaded, self.touched, self.failed = True, False, False, 0

    def _reset(self, at: float) -> None:
        self.success = self.request_us = 0
        self.reset_at.append(at)

    def answers(self, at: float, *, page: bool) -> TritonRound:
        down = TargetUnreachableError("t", "no answer")
        if not self.up:
            return TritonRound(at, down, down, down, {})
        state = ModelState.READY if self.loaded else ModelState.UNLOADED
        text = triton_page(
            "m", success=self.success, backend=self.failed, request_us=self.request_us, loaded=self.loaded
        )
        series = read_series(parse(text, TRITON.wanted)) if self.touched else {}
        configs = {"m": CONFIG} if self.loaded else {}
        return TritonRound(at, {"m": IndexEntry(state, touched=self.touched)}, series if page else down, {}, configs)


EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["answer", "answer", "fail", "scrape", "scrape", "miss"]),
        st.sampled_from(["unload", "load", "kill", "start"]),
    ),
    max_size=60,
)


def intervals_of(events: list[str]) -> tuple[TrueTriton, list[Interval]]:
    triton = TrueTriton()
    model = ModelSpec("m", "m", ("t",), Mode.ACT)
    server = TritonServer(SPEC, [model], scraped(SPEC, [model]), max_age_s=60, keep_s=1e9)
    for at, event in enumerate(events):
        if event in {"scrape", "miss"}:
            server.absorb(triton.answers(at, page=event == "scrape"))
        else:
            triton.do(event, at)
    reading = server.reading(len(events)).models["m"]
    return triton, list(reading.value.intervals) if isinstance(reading, Known) else []


def between(times: list[float], start: float, end: float) -> int:
    return sum(start < at <= end for at in times)


@given(EVENTS)
@example(["unload", "scrape", "load", "fail", "miss", "scrape"])
def test_an_interval_without_a_reset_counts_exactly_what_happened_in_it(events: list[str]) -> None:
    triton, found = intervals_of(events)
    scrapes = [float(at) for at, event in enumerate(events) if event == "scrape"]
    for interval in found:
        reading_before = max(at for at in scrapes if at < interval.end)
        # Where counters began anew within an outage the interval begins at the last missed reading, later than they.
        if interval.start == reading_before and not between(triton.reset_at, interval.start, interval.end):
            failed = between(triton.failed_at, interval.start, interval.end)
            assert interval.failed == interval.failed_backend == failed
            assert interval.completed == between(triton.answered_at, interval.start, interval.end) + failed
            assert round(interval.request_s * 1000) == interval.completed - failed


@given(EVENTS)
def test_nothing_is_counted_twice_or_made_up_whatever_resets_there_were(events: list[str]) -> None:
    triton, found = intervals_of(events)
    assert sum(interval.completed for interval in found) <= len(triton.answered_at) + len(triton.failed_at)
    assert sum(interval.failed for interval in found) <= len(triton.failed_at)
    for interval in found:
        assert interval.completed >= interval.failed >= 0
        assert interval.request_s >= 0


@given(EVENTS)
def test_intervals_do_not_overlap_and_end_at_readings(events: list[str]) -> None:
    _, found = intervals_of(events)
    scrapes = {at for at, event in enumerate(events) if event == "scrape"}
    edge = -1.0
    for interval in found:
        assert edge <= interval.start < interval.end
        assert interval.end in scrapes
        edge = interval.end


@given(st.lists(st.sampled_from(["answer", "fail", "scrape", "miss"]), max_size=60))
def test_without_resets_everything_between_the_first_and_the_last_reading_is_counted(events: list[str]) -> None:
    triton, found = intervals_of(events)
    scrapes = [float(at) for at, event in enumerate(events) if event == "scrape"]
    expected = between(triton.answered_at + triton.failed_at, scrapes[0], scrapes[-1]) if scrapes else 0
    assert sum(interval.completed for interval in found) == expected
