"""Boards that can be cut into MIG slices: profiles, where they may lie, and what may be beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from controlplane.domain.mig import WHOLE, Slice

__all__ = ["WHOLE", "Board", "Profile", "Slice"]

_NAMED_GIB = re.compile(r"\.(\d+)gb")
# What slices have of the memory in their names, on boards where that was seen: from 0.89 and, from half a GPU on, 0.97.
_LEAST_SHARE, _LEAST_SHARE_OF_LARGE = 0.85, 0.95


@dataclass(frozen=True, slots=True)
class Profile:
    """What a slice can be on one board.

    It takes `size` memory units from one of `starts` on; there are at most `most` of it. `memory_mib` and `sm` are None
    where nobody has told what was seen. `nvml` is the number by which NVML is asked about it, `gi` the one by which an
    instance is created; None for `whole`. `aliases`: what other drivers call it.
    """

    name: str
    compute: int
    size: int
    starts: tuple[int, ...]
    most: int
    memory_mib: int | None = None
    sm: int | None = None
    nvml: int | None = None
    gi: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A kind of GPU. `apart`: nothing of the first set may be beside anything of the second."""

    key: str
    units: int
    profiles: tuple[Profile, ...]
    apart: tuple[tuple[AbstractSet[str], AbstractSet[str]], ...] = ()
    names: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()
    confidence: str = ""
    sources: tuple[str, ...] = ()

    def profile(self, name: str) -> Profile | None:
        """A profile by its name here or one of its other names."""
        return next((p for p in self.profiles if name == p.name or name in p.aliases), None)

    def placements(self, names: Iterable[str] | None = None) -> tuple[Slice, ...]:
        """Every place of the named profiles, default all: the largest first."""
        wanted = None if names is None else set(names)
        chosen = [p for p in self.profiles if wanted is None or p.name in wanted]
        chosen.sort(key=lambda p: (-p.size, -p.compute, p.name))
        return tuple(Slice(p.name, start) for p in chosen for start in p.starts)

    def together(self, one: Slice, other: Slice) -> bool:
        """Whether both may be on a GPU at a time; a layout is legal where that holds for all pairs.

        That pairs suffice is so since no profile has a limit other than 1 that its places do not have (tested).
        """
        a, b = self._of(one), self._of(other)
        if one.start < other.start + b.size and other.start < one.start + a.size:
            return False
        if a is b and a.most == 1:
            return False
        return not any(
            (a.name in these and b.name in those) or (b.name in these and a.name in those)
            for these, those in self.apart
        )

    def size(self, piece: Slice) -> int:
        """How many memory units it takes."""
        return self._of(piece).size

    def memory_gib(self, name: str) -> float:
        """What a model can have on such a slice: as it was seen, else a cautious share of what its name says."""
        profile = self.named(name)
        if profile.memory_mib is not None:
            return profile.memory_mib / 1024
        if name == WHOLE:
            largest = max((p for p in self.profiles if p.name != WHOLE), key=lambda p: (p.size, p.compute))
            return self.memory_gib(largest.name)
        named = _NAMED_GIB.search(name)
        share = _LEAST_SHARE_OF_LARGE if 2 * profile.size >= self.units else _LEAST_SHARE
        return share * float(named[1]) if named else 0.0

    def rank(self, name: str) -> tuple[float, int]:
        """How large a profile is: by memory, then by compute slices."""
        return self.memory_gib(name), self.named(name).compute

    def _of(self, piece: Slice) -> Profile:
        return self.named(piece.profile)

    def named(self, name: str) -> Profile:
        """The profile of that name, which the board has."""
        return next(p for p in self.profiles if p.name == name)
