"""What one copy of a model serves on each profile of a board: learned there, scaled from where it was, or given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from controlplane.decide.mig.boards import Board, Profile

FIXED_SHARE = 0.3
"""At most so much of a request's time is taken to be spent where no slice is faster than another: host, launches."""


class Basis(StrEnum):
    """Where a capacity comes from."""

    LEARNED = "learned"
    """A copy ran on a slice of that profile."""
    SCALED = "scaled"
    """From profiles on which it was learned or for which it was given."""
    GIVEN = "given"
    """By the configuration."""


@dataclass(frozen=True, slots=True)
class CopyCapacity:
    """Requests per second of one copy: the truth is taken to be from `low_per_s`, which plans rest on, to the other."""

    low_per_s: float
    high_per_s: float
    basis: Basis


def copies(
    board: Board, memory_gib: float, learned: Mapping[str, float], given: Mapping[str, float]
) -> dict[str, CopyCapacity]:
    """The capacity of a copy by profile of the board, of those with memory enough.

    `learned` and `given` are requests per second by profile, under any of its names. What is given counts only where
    nothing was learned on this board; the other profiles are scaled from those that are known. One for which 0 is
    given is not to be used.
    """
    known, basis = _on(board, learned), Basis.LEARNED
    if not known:
        known, basis = _on(board, given), Basis.GIVEN
    barred = {profile.name for name, value in given.items() if value == 0 and (profile := board.profile(name))}
    found: dict[str, CopyCapacity] = {}
    for profile in board.profiles:
        if board.memory_gib(profile.name) < memory_gib or profile.name in barred or not known:
            continue
        if profile.name in known:
            found[profile.name] = CopyCapacity(known[profile.name], known[profile.name], basis)
        else:
            low, high = _met(scaled(board.named(of), profile, per_s) for of, per_s in known.items())
            found[profile.name] = CopyCapacity(low, high, Basis.SCALED)
    return found


def scaled(of: Profile, to: Profile, per_s: float) -> tuple[float, float]:
    """The least and the most that a copy serves on `to`, where it serves `per_s` on `of`.

    A request's time is taken to be a fixed part f, a part that goes down with the SMs S and one that goes down with the
    memory's bandwidth B, which a slice has by its memory units: t = f + c / S + b / B. Nothing tells c and b apart, so

        1 / (F + (1 - F) / min(S'/S, B'/B))  <=  capacity' / capacity  <=  max(S'/S, B'/B)

    on a larger slice, F being FIXED_SHARE, and the reverse on a smaller one (Amdahl, 1967; the roofline of Williams,
    Waterman and Patterson, 2009). On another board it is not scaled: clocks and cores differ.
    """
    ratios = (_sms(to, of), to.size / of.size)
    low, high = min(ratios), max(ratios)
    return per_s * _grown(low, FIXED_SHARE if low > 1 else 0.0), per_s * _grown(high, 0.0 if high > 1 else FIXED_SHARE)


def _grown(ratio: float, fixed: float) -> float:
    return 1 / (fixed + (1 - fixed) / ratio)


def _sms(to: Profile, of: Profile) -> float:
    """The ratio of their SMs, that of their compute slices where nobody has told the SMs."""
    return to.sm / of.sm if to.sm and of.sm else to.compute / of.compute


def _met(ranges: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """What all ranges have in common; where they contradict each other, what lies between them."""
    lows, highs = zip(*ranges, strict=True)
    low, high = sorted((max(lows), min(highs)))
    return low, high


def _on(board: Board, per_s: Mapping[str, float]) -> dict[str, float]:
    """What is known on this board, under our names of its profiles."""
    named = ((board.profile(name), value) for name, value in per_s.items())
    return {profile.name: value for profile, value in named if profile is not None and value > 0}
