"""Moves that wait for each other's room: none goes with fewer instances where waiting helps, or for nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.placing.circle import Group, Leaving, Room, first_of_circles

SERVERS = ("t0", "t1", "t2")
bytes_by_server = st.dictionaries(st.sampled_from(SERVERS), st.integers(1, 4), max_size=2)


@st.composite
def leavings(draw: st.DrawFn) -> dict[Group, Leaving]:
    """Up to four models that leave now, and up to two later; some are kept by something else than room for a while."""
    found: dict[Group, Leaving] = {}
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        due = name < "e" and draw(st.integers(0, 3)) > 0
        frees, needs = draw(bytes_by_server), draw(bytes_by_server)
        needs = {server: size for server, size in needs.items() if server not in frees}
        one = Leaving("edge", frees, needs, share=draw(st.sampled_from((0.2, 0.5))), priority=draw(st.integers(0, 1)))
        cramped = bool(needs) and due and draw(st.integers(0, 4)) > 0
        found[name, due] = replace(one, cramped=cramped, waits=due and draw(st.integers(0, 4)) == 0)
    return found


rooms = st.fixed_dictionaries({s: st.builds(Room, st.integers(0, 2), st.integers(0, 2)) for s in SERVERS})


class Fleet:
    """Carries the moves out: each has its room first, or goes with fewer instances and has it later."""

    def __init__(self, leaving: dict[Group, Leaving], now: dict[str, Room]) -> None:
        self.leaving, self.rooms = dict(leaving), now
        self.left = Counter({server: room.left or 0 for server, room in now.items()})
        self.owed: list[tuple[str, dict[str, int]]] = []
        self.early: set[str] = set()

    def settle(self) -> None:
        """All that goes by itself."""
        while ready := [group for group in sorted(self.leaving) if self._is_ready(group)]:
            self._go(ready[0], has_room=True)

    def break_circles(self) -> bool:
        """Whether somebody went with fewer."""
        now = {server: replace(room, left=self.left[server]) for server, room in self.rooms.items()}
        first = list(first_of_circles(self.leaving, now))
        for name, _ in first:
            self.early.add(name)
            self._go((name, True), has_room=False)
        return bool(first)

    def _is_ready(self, group: Group) -> bool:
        if not group[1] and any(due for _, due in self.leaving):
            return False
        return all(size is not None and size <= self.left[s] for s, size in self.leaving[group].needs.items())

    def _go(self, group: Group, *, has_room: bool) -> None:
        one = self.leaving.pop(group)
        needs = {server: size or 0 for server, size in one.needs.items()}
        if has_room:
            self.left.subtract(needs)
        else:
            self.owed.append((group[0], needs))
        self.left.update({server: size or 0 for server, size in one.frees.items()})


@settings(max_examples=400, deadline=None)
@given(leavings(), rooms)
def test_who_goes_with_fewer_could_not_have_waited_and_has_the_rest_in_the_end(
    leaving: dict[Group, Leaving], now: dict[str, Room]
) -> None:
    alone = Fleet(leaving, now)
    alone.settle()
    fleet = Fleet(leaving, now)
    while fleet.break_circles():
        assert not any((name, True) not in alone.leaving for name in fleet.early), "it went by itself"
        fleet.settle()
    for _, needs in fleet.owed:
        fleet.left.subtract(needs)
    if fleet.owed:
        owing = {server for _, needs in fleet.owed for server in needs}
        assert all(fleet.left[s] >= (now[s].claimed or 0) for s in owing)


@settings(max_examples=200, deadline=None)
@given(st.permutations("abcd"), st.integers(2, 4), st.data())
def test_a_circle_of_any_length_is_broken_once(names: list[str], length: int, data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(1, 4)) for _ in range(length)]
    servers = [f"t{i}" for i in range(length)]
    leaving: dict[Group, Leaving] = {
        (names[i], True): Leaving("edge", {servers[i]: sizes[i]}, {servers[i - 1]: sizes[i - 1]}, cramped=True)
        for i in range(length)
    }
    now = dict.fromkeys(servers, Room(0, 0))
    first = dict(first_of_circles(leaving, now))
    assert list(first) == [min(names[:length])]
    fleet = Fleet(leaving, now)
    fleet.break_circles()
    fleet.settle()
    assert not fleet.leaving
