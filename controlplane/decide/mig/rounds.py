"""A plan's steps in rounds, so that few GPUs are out of service at a time.

A GPU is out of service from the first copy drained, slice destroyed or change of its MIG mode to the last of its steps.
What only adds to a GPU takes nothing out of service and is never held up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from controlplane.domain.layouts import LayoutStep
from controlplane.domain.mig import Act

Group = tuple[LayoutStep, ...]
"""Steps of one GPU that may go on at the same time."""


def most_gpus(share: float, gpus: int) -> int:
    """So many of these GPUs are the share: one may always be."""
    return max(1, math.floor(share * gpus + 1e-9))


def taken_out(steps: Iterable[LayoutStep]) -> frozenset[str]:
    """The UUIDs of the GPUs that these steps take out of service."""
    return frozenset(step.uuid for step in steps if step.takes_away)


def in_rounds(steps: Sequence[LayoutStep], most: int, out: Collection[str] = ()) -> tuple[LayoutStep, ...]:
    """The same steps in rounds and waves, with at most so many GPUs out of service at a time.

    The order of each GPU's steps is kept, and a copy is drained only after all copies of its model that were to be
    started before it. Then no model has less capacity at any time than it has at some time in the order that was
    given: of all drains done, take the one that comes last there; what was started by then was, and no more was
    drained.

    What takes nothing out of service comes first, in a round of its own. Then those that are `out` of service already,
    and those that drain no copy, for an earlier plan may have left them so: they count until they are back, and with
    them goes what they wait for. More than `most` are out at a time only for these, and where GPUs need each other,
    each of them a copy on another one that has to be taken out for it: such go in a round for themselves.
    """
    return _Rounds(steps, most, out).steps()


def most_at_once(steps: Iterable[LayoutStep]) -> int:
    """So many GPUs are out of service at the same time while these steps are carried out wave by wave, at most."""
    first, last = dict[str, int](), dict[str, int]()
    for step in steps:
        if step.takes_away:
            first.setdefault(step.uuid, step.wave)
        last[step.uuid] = step.wave
    return max((sum(first[uuid] <= wave <= last[uuid] for uuid in first) for wave in set(last.values())), default=0)


class _Rounds:
    def __init__(self, steps: Sequence[LayoutStep], most: int, out: Collection[str]) -> None:
        self._most = most
        by_gpu: defaultdict[str, list[LayoutStep]] = defaultdict(list)
        self._starts: defaultdict[str, set[LayoutStep]] = defaultdict(set)
        for step in steps:
            by_gpu[step.uuid].append(step)
            if step.action == Act.START:
                self._starts[step.model].add(step)
        self._left: dict[str, list[Group]] = {
            uuid: [tuple(group) for _, group in groupby(own, key=lambda step: step.wave)]
            for uuid, own in sorted(by_gpu.items())
        }
        self._round: set[str] = set()
        """The GPUs that are taken out of service in this round."""
        self._out: set[str] = set()
        """Those of them that are by now."""
        takers = taken_out(steps)
        drained = {step.uuid for step in steps if step.action == Act.DRAIN and not step.temporary}
        self._back = takers & set(out)
        """The GPUs that are out of service already."""
        self._idle = self._back | takers - drained
        """And those of which that may be so."""
        self._together = {uuid: self._with(uuid) for uuid in sorted(takers)}

    def steps(self) -> tuple[LayoutStep, ...]:
        """All of them."""
        done: list[LayoutStep] = []
        wave = number = 0
        adds = True
        while self._left:
            going = self._free()
            if adds and not going:
                adds, number = False, int(bool(done))
            if not adds:
                going += self._taken(going)
            for uuid in going:
                group = self._left[uuid].pop(0)
                if not self._left[uuid]:
                    del self._left[uuid]
                done += (replace(step, wave=wave, round=number) for step in group)
                for step in group:
                    self._starts[step.model].discard(step)
            wave += 1
            self._out &= self._left.keys()
            if self._round and not self._round & self._left.keys():
                self._round, number = set(), number + 1
        return tuple(done)

    def _free(self) -> list[str]:
        """The GPUs whose next steps may be and take nothing out of service that is in it."""
        ready = (uuid for uuid in self._left if not self._awaited(uuid))
        return self._in_order(uuid for uuid in ready if uuid in self._out or not taken_out(self._left[uuid][0]))

    def _taken(self, going: Sequence[str]) -> list[str]:
        """The GPUs that are taken out of service in the next wave beside what is `going` on."""
        self._round = self._round or self._chosen()
        ready = [uuid for uuid in self._round & self._left.keys() - self._out - set(going) if not self._awaited(uuid)]
        taken = self._in_order(ready)[: max(0, self._most - len(self._out))]
        if not going and not taken:
            taken = [self._needed()]
        self._out.update(taken)
        return taken

    def _chosen(self) -> set[str]:
        """The GPUs of the next round: first what is out already and what that needs, then what needs the fewest."""
        left = {uuid: of & self._left.keys() for uuid, of in self._together.items() if uuid in self._left}
        idle, chosen = self._idle & self._left.keys(), set[str]()
        first, then = (set[str]().union(*(left[uuid] for uuid in of & left.keys())) for of in (self._back, idle))

        def place(uuid: str) -> tuple[bool, bool, int, int, str]:
            return uuid not in first, uuid not in then, len(left[uuid]), *self._place(uuid)

        for uuid in sorted(left, key=place):
            more = chosen | left[uuid]
            fits = len(more if more <= idle else more | idle) <= self._most
            if fits or not chosen:
                chosen = more
        return chosen

    def _with(self, uuid: str) -> frozenset[str]:
        """The GPUs that have to be out of service for this one to be back: it, and those that one of them waits for."""
        takes = {
            at: next((n for n, group in enumerate(of) if taken_out(group)), len(of)) for at, of in self._left.items()
        }
        reached, look = dict[str, int](), [(uuid, len(self._left[uuid]) - 1)]
        while look:
            at, number = look.pop()
            if number >= takes[at]:
                number = len(self._left[at]) - 1
            for group in self._left[at][reached.get(at, -1) + 1 : number + 1]:
                look += (
                    (start.uuid, next(n for n, of in enumerate(self._left[start.uuid]) if of[0].wave == start.wave))
                    for start in self._before(group)
                )
            reached[at] = max(number, reached.get(at, -1))
        return frozenset(at for at, number in reached.items() if number >= takes[at])

    def _needed(self) -> str:
        """A GPU for which those that are out of service wait, at last: that of the least wave waits for nothing."""
        seen, look = set[str](), list(self._out)
        while look:
            fresh = self._awaited(look.pop()) - seen
            seen |= fresh
            look += fresh
        return self._in_order(uuid for uuid in seen if not self._awaited(uuid))[0]

    def _awaited(self, uuid: str) -> set[str]:
        """GPUs on which copies are yet to be started before those that this one is to drain next."""
        return {start.uuid for start in self._before(self._left[uuid][0])}

    def _before(self, group: Group) -> Iterator[LayoutStep]:
        """The starts that come before the drains of the group."""
        for step in group:
            if step.action == Act.DRAIN:
                yield from (start for start in self._starts[step.model] if start.wave < step.wave)

    def _in_order(self, uuids: Iterable[str]) -> list[str]:
        return sorted(uuids, key=self._place)

    def _place(self, uuid: str) -> tuple[int, str]:
        return self._left[uuid][0][0].wave, uuid
