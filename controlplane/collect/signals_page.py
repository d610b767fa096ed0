"""The reference of signals, made from the tables that the readers of servers go by.

`python -m controlplane.collect.signals_page > docs/reference/signals.md` writes it; a test holds it up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from controlplane.collect.signals import Backend, Kind, Resets, Row
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.vllm.signals import VLLM

_RESETS = {
    Resets.MODEL: "goes when the model is unloaded, begins at 0 with the next load and with a restart; goes on over a"
    " hot reload and an in-place change of instances",
    Resets.FAILURES: "stays when the model is unloaded and goes on after the next load; begins at 0 with a restart",
    Resets.STATISTICS: "as *model*, and begins at 0 with a hot reload too",
    Resets.PROCESS: "begins at 0 with a restart; goes on over sleep and waking",
    Resets.NOTHING: "the value of the moment",
}
_HEAD = """# Signals

Every signal that is read of Triton and vLLM: what it is read from, in which unit it stands there, what sets it back,
and what it means when it is missing. Other backends: [mappings](backends.md). GPUs: [the agent's page](agent.md). What
the control plane exports of it: [metrics](metrics.md).

A signal is known, stale (not read for three scrapes; shown with its last value and not acted on) or missing, with the
reason. Missing is never zero, never idle and never healthy: nothing is lowered on it. A page that ends within a line,
holds a line that is no sample or is of something else is malformed, and then all of it is missing. The API tells the
reason of each signal ([`/api/v1/models/{m}`](api.md)), `controlplane status` that of those it shows.

Differences of counters are taken by series: one that fell began anew and counts from 0, one that is new counts from 0
where everything beside it went on, and after a gap one interval covers it unless something began anew in it. What
sets a source back:

| resets | |
|---|---|
"""
_FOOT = """
The names of signals are those of the code (`controlplane/domain/observation.py`); an `Interval` is what happened
between two readings, `LatencyInterval` a histogram between them, counters are republished as they stand. The page is
generated (`python -m controlplane.collect.signals_page`) from the tables that say which series are read at all, and
tests hold it against recorded pages of the real servers.
"""


def signals() -> str:
    """The page as Markdown."""
    legend = "".join(f"| {resets.value} | {what} |\n" for resets, what in _RESETS.items())
    return f"{_HEAD}{legend}{''.join(line for of in (TRITON, VLLM) for line in _backend(of))}{_FOOT}"


def _backend(backend: Backend) -> Iterator[str]:
    yield f"\n## {backend.name}\n\n"
    yield "| signal | meaning | read from | kind, unit | resets | where it is missing |\n|---|---|---|---|---|---|\n"
    for row in backend.rows:
        yield f"| {_signals(row)} | {row.meaning} | {_source(row)} | {_kind(row)} | {_resets(row)} | {row.missing} |\n"
    yield "\nNot read:\n"
    for ignored in backend.ignored:
        yield f"- {', '.join(f'`{pattern}`' for pattern in ignored.patterns)}: {ignored.why}.\n"


def _signals(row: Row) -> str:
    return ", ".join(f"`{signal}`" for signal in row.signals)


def _source(row: Row) -> str:
    parts: list[str] = []
    for there, several in groupby(row.series, key=lambda series: series.there):
        names = (" or " if row.alternatives else ", ").join(f"`{series.name}`" for series in several)
        parts.append(f"{names} ({there})" if there else names)
    return (" or " if row.alternatives else ", ").join(parts) or row.source or "-"


def _kind(row: Row) -> str:
    return row.kind.value if row.unit == "-" else f"{row.kind.value}, {row.unit}"


def _resets(row: Row) -> str:
    return "-" if row.kind is Kind.NONE else row.resets.value


if __name__ == "__main__":
    sys.stdout.write(signals())
