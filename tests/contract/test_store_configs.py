"""A configuration is kept for as long as a rollout holds on its unit, and goes with the tick that no longer says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from controlplane.domain.errors import StoreError
from controlplane.domain.rollout import Rollout, RolloutPhase, Served
from controlplane.domain.state import PolicyState, UnitState
from controlplane.store import SqlStore, open_store
from controlplane.store.engine import writing
from controlplane.store.tables import kept_configs
from tests.contract.values import NOW, a_tick

CONFIG = {"name": "bert", "instance_group": [{"kind": "KIND_GPU", "count": 1, "gpus": [0, 1]}], "parameters": {}}
OTHER = {**CONFIG, "max_batch_size": 8}
ROLLED = Rollout("o1", "2", ("1",), RolloutPhase.ROLLED_BACK, NOW, Served(0, 0.0, 0.0, None), "no weights")


def rolled(**units: Rollout | None) -> PolicyState:
    """The state with rollouts of bert on these servers."""
    return PolicyState({f"bert@{server}": UnitState(rollout=rollout) for server, rollout in units.items()})


def test_it_is_kept_by_model_and_server_and_the_newest_replaces_the_one_before(store: SqlStore) -> None:
    store.keep_config("bert", "t0", CONFIG)
    store.keep_config("bert", "t1", OTHER)
    assert (store.kept_config("bert", "t0"), store.kept_config("bert", "t1")) == (CONFIG, OTHER)
    assert store.kept_config("bert") == CONFIG, "of the first server"
    assert (store.kept_config("resnet", "t0"), store.kept_config("resnet")) == (None, None)
    store.keep_config("bert", "t0", OTHER)
    assert store.kept_config("bert", "t0") == OTHER
    store.drop_config("bert", "t0")
    assert (store.kept_config("bert", "t0"), store.kept_config("bert", "t1")) == (None, OTHER)
    assert store.kept_config("bert") == OTHER


def test_it_outlives_the_process_while_the_rollout_holds(url: str) -> None:
    first = open_store(url)
    first.keep_config("bert", "t0", CONFIG)
    first.write_tick(a_tick(state=rolled(t0=ROLLED)))
    first.close()
    second = open_store(url)
    assert second.kept_config("bert", "t0") == CONFIG
    second.close()


def test_it_goes_with_the_rollout(store: SqlStore) -> None:
    for server in ("t0", "t1", "t2", "t3"):
        store.keep_config("bert", server, CONFIG)
    lapsed = replace(ROLLED, phase=RolloutPhase.LAPSED)
    store.write_tick(a_tick(state=rolled(t0=ROLLED, t1=None, t2=lapsed)))
    kept = [store.kept_config("bert", server) for server in ("t0", "t1", "t2", "t3")]
    assert kept == [CONFIG, None, None, None]


@pytest.mark.parametrize("body", ["{", "[]"])
def test_a_damaged_one_is_named(store: SqlStore, body: str) -> None:
    store.keep_config("bert", "t0", CONFIG)
    with writing(store._engine) as connection:
        connection.execute(update(kept_configs).values(body=body))
    with pytest.raises(StoreError, match="the kept configuration of bert on t0"):
        store.kept_config("bert", "t0")
