"""Copies that leave, and each wait for room that another one of them has: one of them goes all the same.

Whoever waits for what somebody gives up sooner or later waits on. Only where that is nobody but copies which wait in a
circle can waiting never help: then the one that matters least goes with the instances for which there is room, and has
the others once those that it waited for are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Group = tuple[str, bool]
"""A model, and whether it is the turn of these copies of it to leave, or that of others before."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Copies of a model that are to leave, behind a gateway.

    `frees` bytes by server once they have; `needs` so many more on servers before, None: not known. `cramped`: nothing
    but that keeps them; with fewer instances the model would lack a `share`. `waits`: its requests do. `told`: the
    gateway was already.
    """

    gateway: str
    frees: Mapping[str, int | None]
    needs: Mapping[str, int | None] = field(default_factory=dict)
    cramped: bool = False
    waits: bool = False
    priority: int = 0
    told: bool = False
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that are `left` on a server, and those `claimed` by loads that are to come; None: not known."""

    left: int | None
    claimed: int | None


def first_of_circles(
    leaving: Mapping[Group, Leaving], rooms: Mapping[str, Room]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who goes first of each circle, with those that have the room for which it waited: all of them wait for it."""
    now = {server: room.left for server, room in rooms.items()}
    gone = _gone(leaving, now)
    stuck = _with_room_in_the_end(leaving, gone, rooms)
    waits_for = {
        group: {other for other, its in stuck.items() if other != group and _keeps(other, its, group, one, now)}
        for group, one in stuck.items()
    }
    behind = {group: _reached(waits_for, group) for group in stuck}
    settled: set[Group] = set()
    for group in sorted(stuck, key=lambda g: (not stuck[g].told, stuck[g].priority, stuck[g].share, g)):
        circle = behind[group]
        # one that waits for a circle and is none of it only has to wait until that is broken
        first = group in circle and all(group in behind[other] for other in circle)
        if group[1] and first and settled.isdisjoint(circle):
            settled |= circle
            yield group[0], tuple(sorted({name for name, _ in waits_for[group]}))


def _keeps(other: Group, its: Leaving, group: Group, one: Leaving, left: Mapping[str, int | None]) -> bool:
    """Whether the other is what a model waits for: it has the room, or its turn is before."""
    is_due, other_is_due = group[1], other[1]
    has_room = any(its.frees.get(s) and (n is None or n > (left[s] or 0)) for s, n in one.needs.items())
    return has_room or (other_is_due and not is_due and its.gateway == one.gateway)


def _gone(leaving: Mapping[Group, Leaving], now: Mapping[str, int | None]) -> set[Group]:
    """Those that go sooner or later: they wait for no room, or for such as is left or given up by others that do."""
    gone: set[Group] = set()
    while True:
        room = _added(now, *(leaving[group].frees for group in gone))
        unknown = {server for group in gone for server, size in leaving[group].frees.items() if size is None}
        held_up = {one.gateway for group, one in leaving.items() if group[1] and group not in gone}
        more = {
            group
            for group, one in leaving.items()
            if group not in gone
            and (group[1] or one.gateway not in held_up)
            and (
                (group[1] and not one.cramped)
                or all(s in unknown or (n is not None and n <= room[s]) for s, n in one.needs.items())
            )
        }
        if not more:
            return gone
        gone |= more


def _with_room_in_the_end(
    leaving: Mapping[Group, Leaving], gone: set[Group], rooms: Mapping[str, Room]
) -> Mapping[Group, Leaving]:
    """Of the others those for which there is room once all of them are gone, beside all that is to come.

    Who lacks it even then does not go for the others, nor one whose requests wait. What they need is taken together: or
    it would not be there when it is looked for. Nobody relies on who goes sooner or later, nor on who does only then.
    """
    stuck = {group: one for group, one in leaving.items() if group not in gone and not one.waits}
    held_up = {one.gateway for group, one in leaving.items() if group[1] and group not in stuck}
    now = {server: room.left for server, room in rooms.items()}
    wanted = [{server: room.claimed for server, room in rooms.items()}, *(one.needs for one in leaving.values())]
    needed, unknown = _added(*wanted), {s for part in wanted for s, n in part.items() if n is None}
    while True:
        room = _added(now, *(one.frees for one in stuck.values()))
        full = unknown | {s for s, n in needed.items() if n > room[s]}
        kept = {
            group: one
            for group, one in stuck.items()
            if (group[1] or one.gateway not in held_up) and full.isdisjoint(one.needs)
        }
        if len(kept) == len(stuck):
            return kept
        held_up |= {stuck[group].gateway for group in stuck.keys() - kept.keys() if group[1]}
        stuck = kept


def _added(*parts: Mapping[str, int | None]) -> Counter[str]:
    """All together by server, as far as it is known."""
    together: Counter[str] = Counter()
    for part in parts:
        together.update({server: size for server, size in part.items() if size is not None})
    return together


def _reached(ways: Mapping[Group, set[Group]], start: Group) -> set[Group]:
    """All that one comes to from there."""
    found: set[Group] = set()
    ahead = set(ways[start])
    while ahead:
        found |= ahead
        ahead = {further for name in ahead for further in ways[name]} - found
    return found
