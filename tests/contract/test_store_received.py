from __future__ import annotations

from dataclasses import replace

from controlplane.domain.received import ReceivedAlert
from controlplane.domain.records import AuditEntry
from controlplane.store import SqlStore, open_store, upgrade_schema
from controlplane.store.levels import KEEP_RECEIVED_S
from tests.contract.test_store_judging import migrate
from tests.contract.values import NOW, a_freeze, an_override

UNHEARD_S = 3600.0
FIRING = ReceivedAlert("00ff", {"alertname": "X", "model": "bert"}, NOW - 60, None, "too slow", NOW, NOW)
ENDED = replace(FIRING, ends_at=NOW + 30, received_at=NOW + 31, heard_at=NOW + 31)


def test_an_alert_that_is_told_again_changes_nothing_but_when_it_was_heard_of(store: SqlStore) -> None:
    store.add_received([FIRING])
    assert list(store.received()) == [FIRING]
    store.add_received([replace(FIRING, received_at=NOW + 20, heard_at=NOW + 20)])
    assert list(store.received()) == [replace(FIRING, heard_at=NOW + 20)]
    store.add_received([ENDED])
    store.add_received([replace(ENDED, received_at=NOW + 90, heard_at=NOW + 90)])
    assert list(store.received()) == [replace(ENDED, heard_at=NOW + 90)]


def test_one_that_fires_again_from_the_same_start_is_the_same_and_a_later_start_another(store: SqlStore) -> None:
    store.add_received([FIRING])
    store.add_received([ENDED])
    again = replace(FIRING, received_at=NOW + 40, heard_at=NOW + 40)
    later = replace(FIRING, starts_at=NOW + 50, received_at=NOW + 50, heard_at=NOW + 50)
    store.add_received([again, later])
    assert list(store.received()) == [later, replace(again, ends_at=later.starts_at)]
    assert list(store.received(limit=1)) == [later]


def test_one_that_began_anew_had_ended_though_nobody_told_so(store: SqlStore) -> None:
    later = replace(FIRING, starts_at=NOW + 50, received_at=NOW + 50, heard_at=NOW + 50)
    other = replace(FIRING, fingerprint="01")
    store.add_received([FIRING, other])
    store.add_received([later])
    store.add_received([FIRING])  # told again, later than what followed
    assert [(a.fingerprint, a.starts_at) for a in store.received_firing(NOW + 60, UNHEARD_S)] == [
        ("01", FIRING.starts_at),
        ("00ff", later.starts_at),
    ]
    store.add_received([replace(later, ends_at=NOW + 70, received_at=NOW + 71, heard_at=NOW + 71)])
    assert [a.fingerprint for a in store.received_firing(NOW + 80, UNHEARD_S)] == ["01"]
    assert [a.starts_at for a in store.received_firing(NOW + 49, UNHEARD_S) if a.fingerprint == "00ff"] == [
        FIRING.starts_at
    ]


def test_what_fired_at_a_moment_is_told(store: SqlStore) -> None:
    other = replace(FIRING, fingerprint="01", labels={"alertname": "Y", "model": "gpt"}, starts_at=NOW - 10)
    general = replace(FIRING, fingerprint="02", labels={"alertname": "Z"}, starts_at=NOW - 5)
    store.add_received([FIRING, other, general])
    assert [a.name for a in store.received_firing(NOW, UNHEARD_S)] == ["X", "Y", "Z"]
    assert [a.name for a in store.received_firing(NOW, UNHEARD_S, "bert")] == ["X", "Z"], "those of no model touch all"
    assert [a.name for a in store.received_firing(NOW - 60, UNHEARD_S)] == ["X"]
    assert [a.name for a in store.received("gpt")] == ["Y"]
    store.add_received([ENDED])
    assert [a.name for a in store.received_firing(NOW + 29, UNHEARD_S)] == ["X", "Y", "Z"]
    assert [a.name for a in store.received_firing(NOW + 30, UNHEARD_S)] == ["Y", "Z"]
    assert not store.received_firing(NOW + UNHEARD_S, UNHEARD_S), "an Alertmanager that is gone ends none"


def test_they_outlive_a_restart_and_are_let_go_of_in_time(url: str) -> None:
    first = open_store(url)
    first.add_received([FIRING])
    first.close()
    again = open_store(url)
    assert list(again.received()) == [FIRING]
    again.prune(NOW + KEEP_RECEIVED_S)
    assert list(again.received()) == [FIRING]
    again.prune(NOW + KEEP_RECEIVED_S + 1)
    assert list(again.received()) == []
    again.close()


def test_the_third_migration_goes_down_and_up_again_with_data_in_place(url: str) -> None:
    store = open_store(url)
    store.add_received([FIRING])
    store.add_override(an_override("o1"))
    store.close()
    migrate(url, "0002")
    upgrade_schema(url)
    again = open_store(url)
    assert [o.id for o in again.overrides(NOW)] == ["o1"]
    assert list(again.received()) == []
    again.add_received([FIRING])
    assert list(again.received()) == [FIRING]
    again.close()


def test_the_end_of_a_freeze_moves_unless_somebody_ended_it_and_only_what_was_kept_is_audited(store: SqlStore) -> None:
    freeze, other = a_freeze("f1"), a_freeze("f2")
    began = AuditEntry(NOW, "alertmanager", "freeze", "*", "all")
    assert store.put_freezes([(freeze, began)])
    longer = replace(freeze, expires_at=freeze.expires_at + 60)
    assert not store.put_freezes([(longer, None)]), "that it holds on is told to nobody"
    assert store.freezes(NOW) == (longer,)
    store.put_freezes([(replace(freeze, expires_at=NOW + 1), None)])
    assert store.freezes(NOW + 1) == ()
    store.put_freezes([(longer, None)])
    assert store.freezes(NOW) == (longer,), "one that ran out may begin again"
    store.end_freeze("f1", NOW + 5)
    assert store.put_freezes([(longer, replace(began, detail="again")), (other, replace(began, detail="other"))])
    assert store.freezes(NOW + 5) == (other,)
    assert [entry.detail for entry in store.audit_log()] == ["other", "all"]
    anew = replace(longer, created_at=NOW + 6)
    assert store.put_freezes([(anew, began)])
    assert store.freezes(NOW + 7) == (other, anew), "what began after somebody ended it counts"
