"""Start-ups are kept with the tick that saw them, once, and only the newest of each workload and knob."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.startups import REPLICA, Startup
from controlplane.store import SqlStore, open_store
from controlplane.store.startups import KEPT
from tests.contract.values import NOW, a_tick

COME = Startup("llama", "pod-1", REPLICA, NOW, 92.0, 87.0, "llama-workers")


def test_a_start_up_comes_back_as_it_was_seen_with_its_bounds_and_workload(store: SqlStore) -> None:
    store.write_tick(replace(a_tick(), startups=(COME,)))
    assert store.startups("llama") == (COME,)
    assert store.startups("llama", REPLICA, "pod-1") == (COME,)
    assert store.startups("llama", "load") == store.startups("bert") == ()


def test_writing_a_tick_again_keeps_its_start_ups_once(store: SqlStore) -> None:
    other = replace(COME, server="pod-2")
    for _ in range(2):
        store.write_tick(replace(a_tick(), startups=(COME, other)))
    assert store.startups("llama") == (other, COME)


def test_start_ups_outlive_the_process(url: str) -> None:
    first = open_store(url)
    first.write_tick(replace(a_tick(), startups=(COME,)))
    first.close()
    second = open_store(url)
    assert second.startups("llama") == (COME,)
    second.close()


def test_the_newest_of_each_workload_and_knob_are_kept(store: SqlStore) -> None:
    load = replace(COME, knob="load")
    store.write_tick(replace(a_tick(), startups=(load, replace(load, model="bert"))))
    many = tuple(replace(COME, at=NOW + n) for n in range(KEPT + 20))
    store.write_tick(replace(a_tick(), startups=many[:30]))
    store.write_tick(replace(a_tick(), startups=many[30:]))
    assert store.startups("llama", REPLICA) == many[:19:-1]
    assert store.startups("llama", "load") == (load,)
    elsewhere = replace(COME, server="pod-9", workload="other-workers")
    store.write_tick(replace(a_tick(), startups=(elsewhere,)))
    store.write_tick(replace(a_tick(), startups=tuple(replace(COME, at=NOW + 100 + n) for n in range(KEPT))))
    assert store.startups("llama", REPLICA, "pod-9") == (elsewhere,)
    assert len(store.startups("bert")) == 1
