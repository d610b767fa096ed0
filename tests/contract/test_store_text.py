"""Texts of others, such as what a command said, with characters that a database takes for none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.layouts import MigMemory
from controlplane.domain.ports import AuditEntry
from controlplane.store import SqlStore
from tests.contract.values import NOW

ENTRY = AuditEntry(NOW, "control plane", "mig change ended", "*", "")


@pytest.mark.parametrize(("said", "kept"), [("a\0b", "a\N{REPLACEMENT CHARACTER}b"), ("a\ud800b", "a?b")])
def test_what_was_said_is_kept_in_the_audit_log_all_the_same(store: SqlStore, said: str, kept: str) -> None:
    store.keep_mig(MigMemory(), replace(ENTRY, detail=said))
    assert store.audit_log() == [replace(ENTRY, detail=kept)]
