"""Texts of others, such as what a command said, with characters that a database takes for none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.layouts import MigMemory
from controlplane.domain.records import AuditEntry
from controlplane.store import SqlStore
from tests.contract.values import NOW

ENTRY = AuditEntry(NOW, "control plane", "mig change ended", "*", "")


@pytest.mark.parametrize(("said", "kept"), [("a\0b", "a\N{REPLACEMENT CHARACTER}b"), ("a\ud800b", "a?b")])
def test_what_was_said_is_kept_in_the_audit_log_all_the_same(store: SqlStore, said: str, kept: str) -> None:
    store.keep_mig(MigMemory(), replace(ENTRY, detail=said))
    assert store.audit_log() == [replace(ENTRY, detail=kept)]


@pytest.mark.parametrize(("said", "kept"), [("a\0b", "a\0b"), ("a\ud83d", "a?")])
def test_what_a_server_said_of_a_step_is_kept_with_its_outcome(store: SqlStore, said: str, kept: str) -> None:
    action = Action("d", "m", "s", Step.LOAD, Target(loaded=True, instances=1), NOW)
    store.finish_action(Outcome(action, ActionStatus.FAILED, NOW + 1, said, FailureClass.BACKEND))
    (outcome,) = store.outcomes(NOW)
    assert (outcome.detail, outcome.failure) == (kept, FailureClass.BACKEND)
