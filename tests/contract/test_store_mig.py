"""What is kept of changes of MIG layouts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controlplane.domain.errors import NotLeadingError
from controlplane.domain.layouts import (
    ChangeState,
    FailingCopy,
    LaidSlice,
    LayoutChange,
    LayoutPlan,
    LayoutStep,
    MigMemory,
)
from controlplane.domain.records import AuditEntry
from controlplane.store import SqlStore
from tests.contract.values import NOW

PLAN = LayoutPlan(
    {"GPU-a": (LaidSlice("1g.10gb+me", 0, 1, ("small", "large")), LaidSlice("3g.40gb", 4, 4)), "GPU-b": ()},
    (
        LayoutStep(0, "drain", "GPU-b", "whole", 0, "small", interrupts=True),
        LayoutStep(1, "create", "GPU-a", "1g.10gb", 1, round=1),
    ),
    pays=True,
    reasons=("what is there is as it should be",),
    cost=2.0,
    bound=1.0,
    gain_per_s=0.0,
    disturbance=3.5,
    pays_after_s=math.inf,
    change_s=4.5,
    short_now_per_s={"small": 1.5},
    unserved={"large": "gpus"},
    waiting={"GPU-b": (LaidSlice("whole", 0, 8, ("small",)),)},
)
CHANGE = LayoutChange(ChangeState.FAILED, NOW, 2, 1, "no room", NOW + 5, NOW + 605, "node-a")
MEMORY = MigMemory(PLAN, frozenset({"GPU-b", "GPU-c"}), CHANGE, 2, (FailingCopy("small", "GPU-a", 3, NOW + 9),))
ENTRY = AuditEntry(NOW, "control plane", "mig change ended", "*", "failed, 1 of 2 steps: no room")


def test_what_is_kept_of_changes_is_read_back_as_it_was_and_the_newest_is(store: SqlStore) -> None:
    assert store.load_mig() == MigMemory()
    store.keep_mig(MigMemory(), ENTRY)
    store.keep_mig(MEMORY, replace(ENTRY, at=NOW + 1))
    assert store.load_mig() == MEMORY
    assert [entry.at for entry in store.audit_log()] == [NOW + 1, NOW]


def test_who_does_not_lead_any_more_keeps_nothing_and_is_not_in_the_audit_log(store: SqlStore) -> None:
    store.keep_mig(MEMORY, ENTRY)
    epoch = store.lease.take("another", 60.0, sole=True).epoch
    with pytest.raises(NotLeadingError):
        store.fenced(lambda: epoch - 1).keep_mig(MigMemory(), replace(ENTRY, at=NOW + 1))
    assert store.load_mig() == MEMORY
    assert store.audit_log() == [ENTRY]
    store.fenced(lambda: epoch).keep_mig(MigMemory(), ENTRY)
    assert store.load_mig() == MigMemory()
