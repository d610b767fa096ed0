"""What happened, in the order in which the store has it, for who follows along."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.domain.decision import Decision, Outcome
from controlplane.domain.history import AlertEvent
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.records import AuditEntry

_FORM = re.compile(r"\d{1,18}(\.\d{1,18}){3}", re.ASCII)

INSTRUCTIONS = frozenset(
    {*OverrideKind, "end_override", "end_overrides", "freeze", "unfreeze", "end_freeze", "announce", "end_announced"}
)
"""Verbs of the audit log about what everybody who may read is shown anyway."""


class Position(NamedTuple):
    """How far somebody has come: the number of the last one of each kind. As text, `12.7.3.9`."""

    decisions: int = 0
    outcomes: int = 0
    alerts: int = 0
    instructions: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises ValueError for what is no position."""
        if not _FORM.fullmatch(text):
            raise ValueError("four numbers as in 12.7.3.9, which came as the id of an event")
        return cls(*map(int, text.split(".")))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, and the position of who has seen it and all before it."""

    position: Position
    value: Decision | Outcome | AlertEvent | AuditEntry
