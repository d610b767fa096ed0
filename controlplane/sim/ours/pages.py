"""Simulated replicas as the product reads real ones: from cumulative counters, by its own ledgers."""

from __future__ import annotations

from collections import deque

from controlplane.collect.counters import Executed, Ledger, Totals
from controlplane.collect.counters import Reading as CounterReading
from controlplane.collect.page_server import PageUnit, Served
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter, Interval, LatencyInterval, ModelReading, ModelState
from controlplane.domain.signal import Known, Missing, Signal, aged
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S, Counts, Gateway, ReplicaSignals
from controlplane.sim.triton import ServerSignals

KEEP_S = 330.0
MAX_AGE_S = 15.0
_ENGINE = "0"


class TokenReplica:
    """One vLLM-like replica, from the numbers of its page on by the product's own reader."""

    def __init__(self, model: ModelSpec) -> None:
        self._unit = PageUnit(model)

    def absorb(self, at: float, page: ReplicaSignals) -> None:
        """One page that was read. What a request took as a whole is not simulated on pages, and nothing rests on it."""
        tokens: dict[Counter, float] = {
            Counter.PROMPT_TOKENS: page.prompt_tokens,
            Counter.GENERATION_TOKENS: page.generated_tokens,
            Counter.PREEMPTIONS: page.preempted,
        }
        if page.itl_counts is not None:
            tokens |= {Counter.ITL_COUNT: int(page.itl_counts.sum()), Counter.ITL_S: page.itl_s_sum}
        self._unit.absorb(
            at,
            Served(
                groups={_ENGINE: Totals(page.completed, page.outstanding_s, 0.0)},
                waiting=page.waiting,
                running=page.running,
                kv_cache_usage=page.kv_used_share,
                tokens={_ENGINE: tokens},
            ),
        )

    def missed(self, at: float) -> None:
        """A page could not be read."""
        self._unit.missed(at)

    def reading(self, now: float) -> Signal[ModelReading]:
        """All that is known of the model now."""
        while self._unit.intervals and self._unit.intervals[0].end < now - KEEP_S:
            self._unit.intervals.popleft()
        return self._unit.reading(now, MAX_AGE_S, "")


class BatchServer:
    """One Triton-like server, from its metrics and statistics on by the product's own ledger."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._ledger = Ledger()
        self._intervals: deque[Interval] = deque()
        self._page: ServerSignals | None = None
        self._at = 0.0

    def absorb(self, at: float, page: ReplicaSignals) -> None:
        """Metrics, statistics and configuration that were read. Raises TypeError for a page without statistics."""
        if not isinstance(page, ServerSignals):
            raise TypeError(f"a page of {type(page).__name__}; one of a Triton-like server is needed")
        self._page, self._at = page, at
        executions = {
            ("1", size): Executed(int(times), round(seconds * 1e9))
            for size, (times, seconds) in enumerate(zip(page.executions, page.compute_s, strict=True), 1)
            if times
        }
        room = page.instances * self._max_batch
        interval = self._ledger.seen(
            CounterReading(
                at,
                {"1": Totals(page.completed, page.outstanding_s, page.queue_s)},
                {},
                pending=page.pending,
                instances=page.instances,
                running_max=room,
                executions=executions,
            )
        )
        if interval is not None:
            self._intervals.append(interval)

    def missed(self, at: float) -> None:
        """Nothing could be read."""
        self._ledger.missed(at)

    def reading(self, now: float) -> Signal[ModelReading]:
        """All that is known of the model now."""
        while self._intervals and self._intervals[0].end < now - KEEP_S:
            self._intervals.popleft()
        if self._page is None:
            return Missing("never read")
        found = ModelReading(
            ModelState.READY,
            instances=Known(self._page.instances, self._at),
            max_batch_size=self._max_batch,
            dynamic_batching=self._max_batch > 1,
            pending=Known(self._page.pending, self._at),
            intervals=tuple(self._intervals),
        )
        return aged(Known(found, self._at), now, MAX_AGE_S)


class Histograms:
    """What histograms of all replicas grew by from reading to reading, as objectives count it."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, Indicator], Counts] = {}
        self.intervals: deque[LatencyInterval] = deque()
        self._gateway: tuple[float, Gateway] | None = None

    def absorb(self, since: float, at: float, pages: list[ReplicaSignals]) -> None:
        """The pages that were read at one moment."""
        for indicator, edges in ((Indicator.TTFT, TTFT_EDGES_S), (Indicator.INTER_TOKEN_LATENCY, ITL_EDGES_S)):
            grown = None
            for page in pages:
                counts = page.ttft_counts if indicator is Indicator.TTFT else page.itl_counts
                if counts is None:
                    continue
                before = self._before.get((page.id, indicator))
                rise = counts if before is None else counts - before
                grown = rise.copy() if grown is None else grown + rise
                self._before[page.id, indicator] = counts.copy()
            if grown is not None and since < at:
                self.intervals.append(LatencyInterval(indicator, since, at, edges, tuple(grown.tolist())))
        while self.intervals and self.intervals[0].end < at - KEEP_S:
            self.intervals.popleft()

    def absorb_gateway(self, at: float, gateway: Gateway) -> None:
        """The histogram of the gateway, where it keeps one."""
        before, self._gateway = self._gateway, (at, gateway)
        if gateway.latency_counts is None or before is None or before[1].latency_counts is None:
            return
        counts = tuple((gateway.latency_counts - before[1].latency_counts).tolist())
        errors = gateway.rejected - before[1].rejected
        edges = gateway.latency_edges_s
        self.intervals.append(LatencyInterval(Indicator.LATENCY, before[0], at, edges, counts, errors, "gateway"))
