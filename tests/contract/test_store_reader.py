"""Reports beside ticks, on every store: neither waits for the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from controlplane.config import parse_settings
from controlplane.domain.errors import StoreError
from controlplane.domain.ports import Store
from controlplane.loop.slo_report import Asked
from controlplane.loop.wire import ControlPlane, build
from controlplane.store import SqlStore, open_reader
from controlplane.store.engine import reading
from controlplane.store.tables import slices
from tests.contract.values import NOW, a_slice, a_tick
from tests.unit.api.fakes import CONFIGURATION


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[ControlPlane]:
    plane = build(replace(parse_settings(CONFIGURATION, {}), store_url=url))
    yield plane
    await asyncio.wait_for(plane.stop(), 30.0)


async def test_a_tick_is_written_while_a_report_is_read(url: str) -> None:
    begun, held = threading.Event(), threading.Event()

    def long_report(store: Store) -> int:
        assert isinstance(store, SqlStore)
        with reading(store._engine) as connection:
            seen = len(connection.execute(select(slices)).all())
            begun.set()
            held.wait(30)
            assert len(connection.execute(select(slices)).all()) == seen, "a report sees one state"
        return seen

    async with wired(url) as plane:
        report = asyncio.create_task(plane.reports.call(long_report))
        await asyncio.to_thread(begun.wait, 30)
        following = asyncio.create_task(plane.slo.report(Asked("bert")))
        ticks = [a_tick(NOW + n, slices=(a_slice(NOW + 10 * n),)) for n in range(3)]
        await plane.store.call(lambda s: [s.write_tick(tick) for tick in ticks])
        counts = await plane.store.call(lambda s: s.counts("bert", "latency", NOW, NOW + 60))
        assert counts.good == 27
        assert not report.done()
        assert not following.done(), "reports wait for each other"
        held.set()
        assert await report == 0
        assert (await following).model == "bert"


async def test_a_report_while_the_store_is_away_says_so_and_works_again_after(tmp_path: Path) -> None:
    file, aside = tmp_path / "store.db", tmp_path / "aside.db"
    async with wired(f"sqlite:///{file}") as plane:
        file.rename(aside)
        with pytest.raises(StoreError, match="removed or replaced"):
            await plane.slo.standings()
        assert not file.exists(), "no report makes a new file in its place"
        aside.rename(file)
        assert {s.model for s in await plane.slo.standings()} == {"bert"}


async def test_in_memory_reports_are_read_where_ticks_are_written() -> None:
    assert open_reader("sqlite://") is None
    async with wired("sqlite://") as plane:
        assert plane.reports is plane.store
        assert len(await plane.slo.standings()) == 2
