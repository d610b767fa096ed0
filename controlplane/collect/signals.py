"""What one of our signals is read from: the form of the tables in triton_signals.py and vllm_signals.py.

What the tables do not name is not read, and docs/reference/signals.md is made from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a source gives."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    LABELS = "labels"
    """The labels of a series tell it, its value does not."""
    STATISTICS = "statistics"
    INDEX = "repository index"
    CONFIG = "model configuration"
    ANSWER = "answer"
    PROBE = "own requests"
    NONE = "-"
    """The backend does not export it."""


class Resets(StrEnum):
    """What sets a source back."""

    NOTHING = "no count"
    MODEL = "model"
    FAILURES = "failures"
    STATISTICS = "statistics"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Series:
    """A sample name on the metrics page; `there` says when it is, where a server does not always export it."""

    name: str
    there: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Where signals come from.

    `signals` are fields of ModelReading, ServerReading, Interval or LatencyInterval, or what stands inside one, as in
    `ModelReading.counters[inferences]`. Of several `series` of one meaning the first that is there is read
    (`alternatives`), else all of them. `source` is said where it is no metrics page. `missing` tells what it means that
    nothing is there and what the control plane does then.
    """

    signals: tuple[str, ...]
    meaning: str
    unit: str
    kind: Kind
    resets: Resets
    missing: str
    series: tuple[Series, ...] = ()
    alternatives: bool = False
    source: str = ""


PROBES = Row(
    (
        "Interval.probes",
        "Interval.probes_start",
        "Interval.probes_end",
        "Interval.turned_away",
        "ModelReading.recent_failures",
    ),
    "requests of our own among the completed, whether one found a Triton's queue full, and what was said to those that"
    " failed",
    "requests",
    Kind.PROBE,
    Resets.NOTHING,
    "No probe is configured: none is subtracted.",
    source="probes",
)
"""Of every backend that can be probed."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Families that are not read, as shell patterns, and why."""

    patterns: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of server: its signals, and what of its page is left alone."""

    name: str
    rows: tuple[Row, ...]
    ignored: tuple[Ignored, ...]

    @property
    def wanted(self) -> frozenset[str]:
        """The names of all samples that are read."""
        return frozenset(series.name for row in self.rows for series in row.series)


def series(*names: str, there: str = "") -> tuple[Series, ...]:
    """Samples that are there at the same time."""
    return tuple(Series(name, there) for name in names)


def suffixed(families: Iterable[str], *suffixes: str, there: str = "") -> tuple[Series, ...]:
    """The same of histograms: their samples with these suffixes."""
    return tuple(Series(f"{family}{suffix}", there) for family in families for suffix in suffixes)
