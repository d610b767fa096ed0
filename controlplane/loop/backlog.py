"""Ticks that wait in memory while the store is away, so many and no more."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from controlplane.domain.records import TickRecord

MOST_S = 3600.0
MOST_BYTES = 256 * 2**20
# What the values of a record take in memory, counted with tracemalloc; most of the rest is shared with other ticks.
_DECISION_BYTES, _SLICE_BYTES, _HISTOGRAM_BYTES, _UNIT_BYTES, _TRACE_BYTES = 3500, 300, 900, 700, 700


class Backlog:
    """Records in the order of their ticks, bounded by age and memory: beyond that the oldest are let go of.

    What is lost with one are its slices and histograms (that time then counts as unmeasured) and its decisions.
    Alerts, versions of objectives and start-ups that it tells of go over to the next one.
    """

    def __init__(self, most_s: float = MOST_S, most_bytes: int = MOST_BYTES) -> None:
        self.most_s = most_s
        self._most_bytes = most_bytes
        self._records: deque[TickRecord] = deque()
        self._bytes = 0
        self.lost = 0
        """Records let go of."""

    def __len__(self) -> int:
        return len(self._records)

    @property
    def since(self) -> float | None:
        """When the oldest tick that waits was; None: none does."""
        return self._records[0].at if self._records else None

    @property
    def oldest(self) -> TickRecord:
        """The one to be written next. Raises IndexError where there is none."""
        return self._records[0]

    def add(self, record: TickRecord) -> None:
        """The newest one. It is kept in any case."""
        self._records.append(record)
        self._bytes += weight_bytes(record)
        while len(self._records) > 1 and (
            self._bytes > self._most_bytes or record.at - self._records[0].at > self.most_s
        ):
            gone = self.take()
            self._records[0] = _with(gone, self._records[0])
            self.lost += 1

    def take(self) -> TickRecord:
        """The oldest one, which waits no longer."""
        record = self._records.popleft()
        self._bytes -= weight_bytes(record)
        return record


def weight_bytes(record: TickRecord) -> int:
    """About what a record takes in memory."""
    return (
        _DECISION_BYTES * len(record.decisions)
        + _SLICE_BYTES * len(record.slices)
        + _HISTOGRAM_BYTES * len(record.histograms)
        + _UNIT_BYTES * len(record.state.units)
        + _TRACE_BYTES * len(record.unclosed.traces)
    )


def _with(gone: TickRecord, following: TickRecord) -> TickRecord:
    return replace(
        following,
        versions=(*gone.versions, *following.versions),
        alert_events=(*gone.alert_events, *following.alert_events),
        startups=(*gone.startups, *following.startups),
    )
