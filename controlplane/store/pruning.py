"""Lets go of rows that are past their time, in transactions that each hold the lock for a moment only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from sqlalchemy import Connection

from controlplane.store import histograms, journal, received, slices
from controlplane.store.levels import KEEP_IDLE_S, KEEP_RECEIVED_S, KEEP_S, cutoff

_ROWS_A_TRANSACTION = 20_000
"""How many rows one transaction deletes, about."""
_IDLE_A_TRANSACTION = 500
_IDLE_TRANSACTIONS = 20
"""Called every ten minutes, that is room for 16 decisions a second."""


def prunings(writing: Callable[[], AbstractContextManager[Connection]], now: float) -> Iterator[int]:
    """Delete slices, histograms, decisions that changed nothing and received alerts that are past their time.

    `writing` begins a transaction, one for each item asked for; gives how many rows each deleted. What an interrupted
    one left over is not read any more and goes with the next.
    """
    for level in KEEP_S:
        before = cutoff(level, now)
        with writing() as connection:
            since = slices.kept_from(connection).get(level, before - KEEP_S[level])
            cut = slices.cut_level(connection, level, before)
            jobs = _jobs(connection, level, since, before) if cut else []
        yield 0
        for job in jobs:
            with writing() as connection:
                gone = job(connection)
            yield gone
    for _ in range(_IDLE_TRANSACTIONS):
        with writing() as connection:
            gone = journal.delete_idle(connection, now - KEEP_IDLE_S, _IDLE_A_TRANSACTION)
        yield gone
        if gone < _IDLE_A_TRANSACTION:
            break
    with writing() as connection:
        gone = received.delete_received(connection, now - KEEP_RECEIVED_S)
    yield gone


def _jobs(connection: Connection, level: int, since: int, before: int) -> list[Callable[[Connection], int]]:
    """What is to be deleted of a level that was cut at `since`, a few series at a time."""
    at_once = max(1, _ROWS_A_TRANSACTION * level // (before - since))
    jobs: list[Callable[[Connection], int]] = []
    for ids, delete_rows in (
        (slices.all_series(connection), slices.delete_rows),
        (histograms.all_histogram_series(connection), histograms.delete_histograms),
    ):
        for first in range(0, len(ids), at_once):
            some = ids[first : first + at_once]
            jobs.append(partial(delete_rows, series_ids=some, level=level, before=before))
    return jobs
