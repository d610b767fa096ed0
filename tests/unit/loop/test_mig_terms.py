"""A change of MIG layouts that ends when others have led since: what they wrote of theirs is the newer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from controlplane.domain.layouts import ChangeState, LayoutChange, MigMemory
from controlplane.domain.records import AuditEntry
from controlplane.loop.mig_wire import noted_in
from controlplane.loop.store_thread import StoreThread
from controlplane.store import SqlStore, open_store
from tests.unit.loop.test_mig_changer import NOW, Bench

OF_ANOTHER = MigMemory(
    change=LayoutChange(ChangeState.FAILED, NOW + 50, 3, 1, "no room", NOW + 60, NOW + 660), failures=1
)


def take(store: SqlStore, holder: str) -> int:
    return store.lease.take(holder, 60.0, sole=True).epoch


@pytest.mark.parametrize("resumed", [True, False], ids=["once it goes on", "before it goes on"])
async def test_a_change_of_an_earlier_term_writes_over_nothing_that_was_written_since(
    tmp_path: Path, *, resumed: bool
) -> None:
    bench, store = Bench(), open_store(f"sqlite:///{tmp_path / 'history.db'}")
    thread = StoreThread(store)
    terms = [take(store, "this")]

    def of_term() -> StoreThread:
        epoch = terms[-1]
        return thread.beside(store.fenced(lambda: epoch))

    bench.changer._noting = partial(noted_in, of_term, lambda: bench.now)
    under_way, gate = asyncio.Event(), asyncio.Event()
    run = bench.nodes.run

    async def slow(*step: object) -> object:
        under_way.set()
        await gate.wait()
        return await run(*step)  # type: ignore[arg-type]

    bench.nodes.run = slow  # type: ignore[method-assign,assignment]
    bench.changer.begin(bench.plan, bench.nodes.node_of, lambda: bench.snapshot, MigMemory(bench.plan))
    await under_way.wait()
    bench.changer.halt()
    another = take(store, "another")
    entry = AuditEntry(NOW + 60, "control plane", "mig change ended", "*", "failed")
    store.fenced(lambda: another).keep_mig(OF_ANOTHER, entry)
    terms.append(take(store, "this"))
    resume: Callable[[], None] = partial(bench.changer.resume, lambda: bench.snapshot, store.load_mig())
    if resumed:
        resume()
    gate.set()
    await bench.changer.ended()
    assert store.load_mig() == OF_ANOTHER
    if not resumed:
        resume()
        await bench.changer.ended()
    assert bench.changer.change == OF_ANOTHER.change, "it is what is told, and what the next one waits for"
    bench.now = NOW + 660
    assert (await bench.change()).state is ChangeState.HELD, "the GPUs are as the change of before left them"
    written = store.load_mig().change
    assert written == bench.changer.change, "what is begun in this term is written down"
    await bench.changer.close()
    thread.close()
