"""Which of several control planes on one store decides and acts: the holder of a lease that runs out by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.domain.errors import NotLeadingError

NOT_LEADING = "another control plane may lead by now"
LEASE_S = 10.0
"""How long a lease holds unless it is renewed: another takes over within 15 s after its holder died."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The row as the database tells it: `left_s` by its clock, which is one for all; up to 0 it has run out.

    `epoch` is the fencing token: it rises with each take-over, and who writes with an older one is refused. `holder` is
    empty before the first, and after one that let go of it.
    """

    holder: str = ""
    epoch: int = 0
    left_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Leadership:
    """How one control plane stands. `leader` is who holds the lease as far as is known, "" when nobody does.

    `leads`: whether it is this one, and surely still. `takeovers` counts how often this process took the lease.
    """

    leads: bool
    leader: str = ""
    epoch: int = 0
    takeovers: int = 0


ALONE = Leadership(leads=True)
"""Of a loop that shares its store with nobody."""

Leave: TypeAlias = Callable[[str], None]
"""Asked right before each single write to what is acted on, and told which: raises NotLeadingError where it is not to
be made. None of those that are written to checks who leads, and a step of several writes may outlive the lead."""


def leave_by(may_act: Callable[[], bool]) -> Leave:
    """Leave for a write while `may_act()` says that this process leads for certain."""

    def ask(write: str) -> None:
        if not may_act():
            raise left_undone(write, NOT_LEADING)

    return ask


def left_undone(write: str, why: str) -> NotLeadingError:
    """Says which write was not made, and why."""
    return NotLeadingError(f"left undone: {write}; {why}")


def any_write(write: str) -> None:
    """Leave for all, of who shares what is acted on with no other control plane."""
