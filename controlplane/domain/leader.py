"""Which of several control planes on one store decides and acts: the holder of a lease that runs out by itself."""

from __future__ import annotations

from dataclasses import dataclass

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
