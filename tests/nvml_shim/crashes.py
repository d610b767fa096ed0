"""Crashes of a change of layout at every step of it, and what a restart makes of them; run with the shim on its path.

    python -m tests.nvml_shim.crashes FOLDER WAY FIRST COUNT

WAY: `raise` ends the change by an exception that nothing catches, in this process, right before and right after each
NVML call that changes something; `kill` has the shim send SIGKILL there, to a process of its own; `error` has these
calls fail, with their effect and without; `every` raises before each NVML call, whether it changes something or not.
Transitions are random and known by their numbers from FIRST on. Prints one JSON object: how many crashes there were,
and what went wrong.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from controlplane.agent.mig.cutter import Cutter, Limits
from controlplane.agent.mig.journal import Journal
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import Layout, fits
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.mig import LayoutOutcome, LayoutState
from tests.nvml_shim.machine import Fault, Machine

_BOARDS = ("h100-80gb", "a100-80gb", "a30-24gb", "rtx-pro-6000-96gb", "h200-141gb")
_CHANGES = ("Create", "Destroy", "SetMigMode")
_WHOLE = (Slice(WHOLE, 0),)
GPU = "GPU-0"


class Killed(BaseException):
    """The process ends here: nothing of ours catches it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """From a layout to another, on a board. `begun`: a slice that somebody began to create before."""

    board: Board
    before: Layout
    after: Layout
    begun: Slice | None
    pending: bool

    @property
    def stays(self) -> set[Slice]:
        return set(self.before) & set(self.after) - set(_WHOLE)


def transition(number: int) -> Transition:
    """The random transition of that number."""
    drawn = random.Random(number)  # noqa: S311
    board = boards()[drawn.choice(_BOARDS)]
    before = _layout(drawn, board)
    begun = _more(drawn, board, before) if before not in {(), _WHOLE} and drawn.random() < 0.3 else None
    after = _layout(drawn, board)
    if drawn.random() < 0.6 and before != _WHOLE:  # most have slices that stay, and at times one that was begun
        kept = tuple(piece for piece in before if drawn.random() < 0.6)
        while (piece := _more(drawn, board, kept)) and drawn.random() < 0.7:
            kept = tuple(sorted((*kept, piece)))
        after = kept
    return Transition(board, before, after, begun, pending=drawn.random() < 0.2)


def _layout(drawn: random.Random, board: Board) -> Layout:
    if drawn.random() < 0.15:
        return _WHOLE
    layout: Layout = ()
    while drawn.random() < 0.85 and (piece := _more(drawn, board, layout)):
        layout = tuple(sorted((*layout, piece)))
    return layout


def _more(drawn: random.Random, board: Board, layout: Layout) -> Slice | None:
    open_ = [p for p in board.placements() if p.profile != WHOLE and fits(board, layout, p)]
    return drawn.choice(open_) if open_ else None


class Scene:
    """One transition in a folder: its GPU before, and again and again."""

    def __init__(self, folder: Path, of: Transition) -> None:
        self.of = of
        self.machine = Machine(Path(os.environ["NVML_SHIM_MACHINE"]), of.board.key)
        self._journal = folder / "journal"
        self.apply(of.before)
        if self.machine.state.gpu[0].pending != self.machine.state.gpu[0].mode:
            self.machine.reset()
            self.apply(of.before)
        if of.begun is not None:
            self._begin(of.begun)
        if of.pending and of.before != _WHOLE:
            self._turn()
        for piece in of.stays:
            self.machine.attach(1, piece)
        self._bytes = bytes(self.machine.state)
        self.uuids = {piece: uuid for piece, uuid in self.machine.slices().items() if piece in of.stays}

    def again(self) -> None:
        """As it was before, with no journal."""
        ctypes.memmove(ctypes.addressof(self.machine.state), self._bytes, len(self._bytes))
        shutil.rmtree(self._journal, ignore_errors=True)

    def cutter(self) -> Cutter:
        """As a process that has just started has it."""
        return Cutter(self._journal, time.monotonic, Limits(settle_s=0.0))

    def apply(self, layout: Layout) -> LayoutOutcome:
        return self.cutter().apply(GPU, layout, dry_run=False)

    def wrong(self, *, resumed: bool) -> str:
        """What is not as it was asked for, after a restart; empty: all is well."""
        if resumed:
            self._resume()
        else:
            self.apply(self.of.after)
        gpu = self.machine.state.gpu[0]
        if gpu.mode != gpu.pending:
            self.machine.reset()
            self.apply(self.of.after)  # nothing is cut after a reset but what is asked for anew
        there = self.machine.slices()
        wanted = set(self.of.after) - set(_WHOLE)
        if set(there) != wanted or self.machine.unfinished():
            return f"{sorted(there)} and begun {self.machine.unfinished()} in place of {sorted(wanted)}"
        if self.of.after and gpu.mode != (self.of.after != _WHOLE):
            return f"the mode is {gpu.mode}"
        if touched := [p for p, uuid in self.uuids.items() if there[p] != uuid]:
            return f"touched: {touched}"
        last = Journal(self._journal).read(GPU)
        if last is None or last.outcome.state is not LayoutState.DONE:
            return f"the journal says {last}"
        again = self.cutter().apply(GPU, self.of.after, dry_run=True)
        return f"not at rest: {again}" if again.steps else ""

    def _resume(self) -> None:
        cutter = self.cutter()
        for gpu in cutter.unfinished():
            cutter.resume(gpu)

    def _turn(self) -> None:
        """What somebody did to the mode before: on with nothing cut; off from the next reset on (Ampere)."""
        gpu = self.machine.state.gpu[0]
        if not self.of.before:
            gpu.mode = gpu.pending = 1
        elif gpu.resets:
            gpu.pending = 0

    def _begin(self, piece: Slice) -> None:
        """A GPU instance without a compute instance, as a process that was killed leaves it."""
        self.machine.fail(Fault.ERROR_BEFORE, at_change=2)
        self.apply((*self.of.before, piece))
        self.machine.mend()
        assert self.machine.unfinished() == [piece]


@contextmanager
def injected(at: int, *, after: bool, every: bool) -> Iterator[Callable[[], int]]:
    """Raise Killed before or after the call of that number, of those that change something or of all; 0: never."""
    real, count = pynvml._nvmlGetFunctionPointer, 0

    def pointer(name: str) -> Any:
        function = real(name)
        if not every and not any(word in name for word in _CHANGES):
            return function

        def call(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == at and not after:
                raise Killed
            answer = function(*arguments)
            if count == at:
                raise Killed
            return answer

        return call

    pynvml._nvmlGetFunctionPointer = pointer
    try:
        yield lambda: count
    finally:
        pynvml._nvmlGetFunctionPointer = real


def crashed(scene: Scene, way: str, at: int, *, after: bool) -> None:
    """The change, with a crash at that point."""
    if way in {"raise", "every"}:
        with suppress(Killed), injected(at, after=after, every=way == "every"):
            scene.apply(scene.of.after)
    elif way == "error":
        scene.machine.fail(Fault.ERROR_AFTER if after else Fault.ERROR_BEFORE, at_change=at)
        with suppress(TargetUnreachableError):
            scene.apply(scene.of.after)
    else:
        scene.machine.fail(Fault.KILL_AFTER if after else Fault.KILL_BEFORE, at_change=at)
        child = os.fork()
        if child == 0:
            scene.apply(scene.of.after)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    scene.machine.mend()


def main(folder: Path, way: str, first: int, count: int) -> dict[str, Any]:
    """Every crash of these transitions."""
    crashes, faults = 0, []
    for number in range(first, first + count):
        scene = Scene(folder, transition(number))
        scene.again()
        with injected(0, after=False, every=way == "every") as counted:
            scene.apply(scene.of.after)
            calls = counted()
        for at in range(1, calls + 1):
            for after in (False,) if way == "every" else (False, True):
                scene.again()
                crashed(scene, way, at, after=after)
                crashes += 1
                if why := scene.wrong(resumed=way in {"raise", "kill"}):
                    faults.append(f"transition {number}, {way} {'after' if after else 'before'} call {at}: {why}")
    return {"transitions": count, "crashes": crashes, "faults": faults[:20]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201
