"""The history of objectives: a report of many models, a tick of a large fleet, what it takes on disk, and its end."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Figure
from bench.history_fill import OBJECTIVES, WINDOW_S, fill, fill_histograms, keep_from, steady
from bench.history_ingest import SERVERS, ingest_s
from bench.timing import best_s
from controlplane.domain.fleet import Fleet, Mode, ModelSpec
from controlplane.domain.records import AuditEntry
from controlplane.loop.slo_report import read_standings
from controlplane.store import SqlStore, open_store
from controlplane.store.levels import DAY_S, FINEST_S, HOUR_S, cutoff
from tests.contract.postgres import NoPostgresError, new_database, postgres_server

MODELS = 500
INTERVAL_S = 15.0
_NOW = 20_000 * DAY_S + 12 * HOUR_S + 1234 // FINEST_S * FINEST_S
_SIZED = 12
_REPORT_GOAL_S = 0.3
_SIZE_GOAL_MB = 5.0
_INGEST_GOAL_S = 3.0
_RETENTION_GOAL = 0.001
_STALL_GOAL_S = 2.0
_NAMES = [f"model-{i}" for i in range(MODELS)]


def run(*, quick: bool = False) -> list[Figure]:
    """All four; `quick` leaves PostgreSQL out and takes a tenth of the models where history is filled."""
    models = MODELS // 10 if quick else MODELS
    figures = [_report("SQLite", "", models)]
    if not quick:
        try:
            with postgres_server() as folder:
                figures.append(_report("PostgreSQL", new_database(folder, "bench"), models))
        except NoPostgresError as error:
            figures.append(Figure(f"report of {models} models, PostgreSQL", str(error), "to be measured", met=False))
    return [*figures, _ingest(), _size(), _retention(models)]


def _report(what: str, url: str, models: int) -> Figure:
    """The standing of every objective over 28 days, as `controlplane slo report` asks for it."""
    with _database(url) as address:
        kept = {FINEST_S: cutoff(FINEST_S, _NOW), 60: cutoff(60, _NOW), HOUR_S: cutoff(HOUR_S, _NOW)}
        keep_from(address, kept)
        hours = (HOUR_S, _NOW - WINDOW_S, _NOW)
        days = (DAY_S, _NOW // DAY_S * DAY_S - WINDOW_S, _NOW)
        # what the edges of the window and the last 6 hours are read from
        edges = ((60, _NOW - 7 * HOUR_S, _NOW), (FINEST_S, _NOW - 2 * HOUR_S, _NOW))
        fill(address, _NAMES[:models], OBJECTIVES, (days, hours, *edges))
        fleet = Fleet((), tuple(ModelSpec(n, n, (), Mode.OBSERVE, OBJECTIVES) for n in _NAMES[:models]))
        store = open_store(address)
        took_s = best_s(lambda: read_standings(store, fleet, None, float(_NOW)))
        (one, *_) = read_standings(store, fleet, None, float(_NOW))
        store.close()
    return Figure(
        f"report over 28 d for {models} models, {what}",
        f"{took_s * 1000:.0f} ms for {len(OBJECTIVES) * models} objectives, each over 28 d, 6 h, 1 h and 5 min",
        f"under {_REPORT_GOAL_S:g} s",
        took_s < _REPORT_GOAL_S,
        {"seconds": took_s, "objectives": len(OBJECTIVES) * models, "good": one.good},
    )


def _ingest() -> Figure:
    """Closing and writing what 1,000 servers did for 20 models in a tick."""
    with _database("") as address:
        close_s, write_s = ingest_s(open_store(address))
    took_s = close_s + write_s
    return Figure(
        f"history of a tick of {SERVERS} servers x 20 models",
        f"{took_s:.2f} s (closing {close_s:.2f} s, writing {write_s:.2f} s), {took_s / INTERVAL_S:.1%} of the interval",
        f"under {_INGEST_GOAL_S:g} s, which a whole tick may take",
        took_s <= _INGEST_GOAL_S,
        {"seconds": took_s, "close_s": close_s, "write_s": write_s},
    )


def _size() -> Figure:
    """The file of a few model-objectives that are older than 400 days, over their number; histograms apart."""
    names = _NAMES[:_SIZED]
    with _database("") as address:
        empty = _bytes(address)
        fill(address, names, OBJECTIVES[:1], steady(_NOW))
        slices_mb = (_bytes(address) - empty) / len(names) / 1e6
        before = _bytes(address)
        fill_histograms(address, names, [span for span in steady(_NOW) if span[0] >= 60])
        histograms_mb = (_bytes(address) - before) / len(names) / 1e6
    rows = sum((last - first) // level for level, first, last in steady(_NOW))
    return Figure(
        "size of a model-objective at steady state, SQLite",
        f"{slices_mb:.1f} MB ({rows} rows, {slices_mb * 1e6 / rows:.0f} bytes each); a histogram of 17 buckets"
        f" {histograms_mb:.1f} MB beside",
        f"under {_SIZE_GOAL_MB:g} MB",
        slices_mb < _SIZE_GOAL_MB,
        {"slices_mb": slices_mb, "histogram_mb": histograms_mb, "rows": rows},
    )


def _retention(models: int) -> Figure:
    """Deleting a day of one objective of each model at every level at once, while somebody writes."""
    with _database("") as address:
        store = open_store(address)
        store.prune(float(_NOW - DAY_S))
        spans = [(level, cutoff(level, _NOW - DAY_S), cutoff(level, _NOW)) for level in (FINEST_S, 60, HOUR_S)]
        fill(address, _NAMES[:models], OBJECTIVES[:1], spans)
        rows = models * sum((last - first) // level for level, first, last in spans)
        done = threading.Event()
        waits: list[float] = []
        writer = threading.Thread(target=_write_until, args=(store, done, waits))
        writer.start()
        began = time.perf_counter()
        deleted = store.prune(float(_NOW))
        took_s = time.perf_counter() - began
        done.set()
        writer.join()
        store.close()
    share, stalled_s = took_s / DAY_S, max(waits)
    return Figure(
        f"retention of a day for {models} model-objectives, SQLite",
        f"{took_s:.1f} s for {deleted} rows ({share:.3%} of the day); another write waited {stalled_s:.2f} s at most",
        f"at most {_RETENTION_GOAL:.1%} of the day, no write held up for {_STALL_GOAL_S:g} s",
        deleted == rows and share <= _RETENTION_GOAL and stalled_s < _STALL_GOAL_S,
        {"seconds": took_s, "rows": deleted, "longest_wait_s": stalled_s, "writes": len(waits)},
    )


def _write_until(store: SqlStore, done: threading.Event, waits: list[float]) -> None:
    while True:
        began = time.perf_counter()
        store.audit(AuditEntry(began, "bench", "write", "", ""))
        waits.append(time.perf_counter() - began)
        if done.wait(0.02):
            return


@contextmanager
def _database(url: str) -> Iterator[str]:
    """The address of a database with a schema: the one given, else of a file that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        address = url or f"sqlite:///{folder}/history.db"
        open_store(address).close()
        yield address


def _bytes(address: str) -> int:
    """The size of the file when all is in it; pages that were freed count."""
    path = Path(address.removeprefix("sqlite:///"))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size
