from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.errors import NotFoundError
from controlplane.domain.instructions import OverrideKind, Want
from controlplane.domain.records import AuditEntry
from controlplane.store import SqlStore
from tests.contract.values import NOW, a_freeze, an_announced, an_override


def test_an_override_is_in_force_until_it_expires(store: SqlStore) -> None:
    override = an_override("o1")
    store.add_override(override)
    assert store.overrides(NOW) == (override,)
    assert store.overrides(override.expires_at - 0.001) == (override,)
    assert store.overrides(override.expires_at) == ()
    assert store.override("o1") == override


@pytest.mark.parametrize(("first", "second"), [("", ""), ("t0", "t0"), ("", "t0"), ("t0", "")])
def test_the_newest_word_about_a_model_on_a_server_replaces_the_earlier(
    store: SqlStore, first: str, second: str
) -> None:
    older = an_override("o1", kind=OverrideKind.LOADED, server=first)
    newer = an_override("o2", at=NOW + 60, kind=OverrideKind.UNLOADED, server=second)
    store.add_override(older)
    store.add_override(newer)
    assert store.overrides(NOW + 60) == (newer,)
    assert store.override("o1") == older  # ended, not deleted
    assert store.overrides(NOW + 59) == (older, newer)  # as it was then; the newer one is known from its start on


def test_overrides_of_other_models_and_servers_stay(store: SqlStore) -> None:
    kept = (an_override("o1", server="t0"), an_override("o2", server="t1"), an_override("o3", model="resnet"))
    for override in kept:
        store.add_override(override)
    assert store.overrides(NOW) == kept


def test_a_rollout_stands_beside_what_else_is_said_and_replaces_the_one_before(store: SqlStore) -> None:
    pin, first, second = (
        replace(an_override(f"o{n}", at=NOW + n, kind=kind), version=version)
        for n, (kind, version) in enumerate(
            [(OverrideKind.PIN, ""), (OverrideKind.ROLLOUT, "2"), (OverrideKind.ROLLOUT, "3")]
        )
    )
    for override in (pin, first, second):
        store.add_override(override)
    assert store.overrides(NOW + 5) == (pin, second)
    other = an_override("o9", at=NOW + 9, kind=OverrideKind.LOADED)
    store.add_override(other)
    assert store.overrides(NOW + 9) == (second, other)


def test_adding_an_override_again_does_not_bring_it_back(store: SqlStore) -> None:
    override = an_override("o1")
    store.add_override(override)
    store.add_override(override)
    assert store.overrides(NOW) == (override,)
    store.end_override("o1", NOW + 1)
    store.add_override(override)
    assert store.overrides(NOW + 1) == ()


def test_ending_overrides_counts_those_in_force(store: SqlStore) -> None:
    for override in (an_override("o1", server="t0"), an_override("o2", server="t1"), an_override("o3", model="resnet")):
        store.add_override(override)
    assert store.end_override("o1", NOW + 1).id == "o1"
    assert store.end_overrides("bert", NOW + 2) == 1
    assert store.end_overrides("bert", NOW + 3) == 0
    assert [o.id for o in store.overrides(NOW + 3)] == ["o3"]


def test_an_override_or_freeze_nobody_knows_is_not_found(store: SqlStore) -> None:
    for ask in (
        lambda: store.override("o9"),
        lambda: store.end_override("o9", NOW),
        lambda: store.end_freeze("o9", NOW),
    ):
        with pytest.raises(NotFoundError, match="'o9'"):
            ask()


def test_freezes_hold_until_they_expire_or_are_ended(store: SqlStore) -> None:
    everywhere, one = a_freeze("f1"), a_freeze("f2", at=NOW + 1, model="bert")
    store.add_freeze(everywhere)
    store.add_freeze(one)
    assert store.freezes(NOW + 1) == (everywhere, one)
    assert store.end_freezes("", NOW + 2) == 1
    assert store.freezes(NOW + 2) == (one,)
    assert store.freezes(one.expires_at) == ()
    assert store.end_freeze("f2", NOW + 3) == one
    assert store.freezes(NOW + 3) == ()


def test_the_newest_want_of_each_model_is_kept(store: SqlStore) -> None:
    for want in (Want("bert", NOW, "gateway"), Want("bert", NOW + 5, "ann"), Want("bert", NOW + 1, "late")):
        store.add_want(want)
    store.add_want(Want("alexnet", NOW, "gateway"))
    assert store.wants() == (Want("alexnet", NOW, "gateway"), Want("bert", NOW + 5, "ann"))


def test_the_audit_log_comes_newest_first(store: SqlStore) -> None:
    entries = [AuditEntry(NOW + n, "ann", "load", "bert", f"because {n}") for n in range(3)]
    for entry in entries:
        store.audit(entry)
    assert list(store.audit_log()) == entries[::-1]
    assert list(store.audit_log(limit=1)) == entries[2:]


def test_what_is_said_about_a_workload_is_kept_apart_from_models(store: SqlStore) -> None:
    scaled = replace(an_override("o1", kind=OverrideKind.REPLICAS, model=""), workload="fleet")
    bounds = replace(scaled, id="o2", kind=OverrideKind.BOUNDS, created_at=NOW + 1, instances=None, least=2, most=9)
    pinned = an_override("o3", model="bert", at=NOW + 2)
    for override in (scaled, bounds, pinned):
        store.add_override(override)
    assert store.overrides(NOW + 2) == (bounds, pinned), "the newest word about the workload holds"
    assert store.end_overrides("fleet", NOW + 3) == 1
    assert store.overrides(NOW + 3) == (pinned,)
    everywhere, held = a_freeze("f1"), replace(a_freeze("f2"), workload="fleet")
    store.add_freeze(everywhere)
    store.add_freeze(held)
    assert store.end_freezes("", NOW + 1) == 1
    assert store.freezes(NOW + 1) == (held,)
    assert store.end_freezes("fleet", NOW + 2) == 1


def test_an_announced_event_is_there_before_it_begins_and_until_it_is_over(store: SqlStore) -> None:
    event = an_announced("e1")
    store.add_announced(event)
    store.add_announced(event)
    assert store.announced(NOW) == (event,)
    assert store.announced(event.end_s - 0.001) == (event,)
    assert store.announced(event.end_s) == ()


def test_an_announced_event_that_was_taken_back_is_not_to_come(store: SqlStore) -> None:
    first, second = an_announced("e1"), an_announced("e2")
    store.add_announced(first)
    store.add_announced(second)
    assert store.end_announced("e1", NOW + 1) == first
    assert store.announced(NOW + 1) == (second,)
    with pytest.raises(NotFoundError):
        store.end_announced("e3", NOW)
