"""Carries a GPU from the layout that it has to one that is asked for, and goes on after a crash at any point."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pynvml

from controlplane.agent.mig import nvml
from controlplane.agent.mig.geometry import board_of
from controlplane.agent.mig.journal import Intent, Journal
from controlplane.agent.mig.nvml import Instance, Reading
from controlplane.agent.mig.present import LOST, present
from controlplane.agent.mig.refusals import at, busy, impossible, named, unfit
from controlplane.agent.mig.steps import OFF, Planned, staying, steps
from controlplane.collect.gpu.nvml_errors import why as why_of
from controlplane.decide.mig import Board, Slice
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.mig import Act, GpuLayout, LayoutOutcome, LayoutState, LayoutStep

_POLL_S = 0.2
_RESET = (
    "its MIG mode changes at its next reset, which ends every process on it and is a person's to do: end all that uses"
    " it, this agent and DCGM too, and reset it (nvidia-smi --gpu-reset -i {}), or reboot; then ask again"
)
"""Of Ampere (NVIDIA MIG User Guide, "Enable MIG mode")."""


class _StepError(Exception):
    """A step cannot be done; says why."""


class _ResetRequiredError(Exception):
    """The step is done at the next reset of the GPU."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited, in seconds: for a whole change, after which no step is begun, and for a slice to be let go.

    The driver says for a moment that a slice is in use when its last process has just ended.
    """

    deadline_s: float = 120.0
    settle_s: float = 5.0


class Cutter:
    """The GPUs of this machine. Every call blocks; `clock` gives unix seconds, for the journal.

    Raises NotFoundError for a GPU that is not here, TargetUnreachableError where NVML cannot be used, ConflictError
    where another process changes the GPU or the journal cannot be written.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], limits: Limits | None = None) -> None:
        self._journal = Journal(folder)
        self._clock = clock
        self._limits = limits or Limits()

    def layouts(self) -> tuple[GpuLayout, ...]:
        """Every GPU as it is, by index; one that cannot be read says why, and one that is lost has no UUID."""
        with _session():
            return tuple(present(uuid, self._last(uuid)) if uuid else LOST for uuid in nvml.by_index())

    def apply(self, gpu: str, layout: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        """Give the GPU this layout, with the fewest steps; no step where it has it."""
        with _session(), self._journal.locked(gpu):
            return self._apply(gpu, layout, dry_run=dry_run)

    def unfinished(self) -> tuple[str, ...]:
        """The GPUs on which something was begun and not brought to an end, nor to where it waits for a reset."""
        with _session():
            return tuple(uuid for uuid in nvml.uuids() if (i := self._journal.read(uuid)) and i.unfinished)

    def resume(self, gpu: str) -> LayoutOutcome | None:
        """Go on with what was begun there; None: nothing is left to do.

        What waited for a reset is not gone on with: that may be long after, and somebody may have taken it back.
        """
        with _session(), self._journal.locked(gpu):
            intent = self._journal.read(gpu)
            if intent is None or not intent.unfinished:
                return None
            return self._apply(gpu, intent.layout, dry_run=False)

    def _last(self, uuid: str) -> LayoutOutcome | None:
        intent = self._journal.read(uuid)
        return intent.outcome if intent else None

    def _apply(self, gpu: str, asked: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        reading = _read(gpu)
        board = board_of(reading)
        why = unfit(reading, board)
        if why or board is None:
            return LayoutOutcome(gpu, LayoutState.REFUSED, detail=why)
        layout = _canonical(board, asked)
        if why := impossible(reading, board, layout):
            return LayoutOutcome(gpu, LayoutState.REFUSED, detail=why)
        planned = steps(reading, board, layout)
        outcome = LayoutOutcome(gpu, LayoutState.PLANNED, tuple(one.step for one in planned))
        if why := busy(reading, planned):
            return replace(outcome, state=LayoutState.REFUSED, detail=why)
        if dry_run:
            return outcome
        stay = staying(reading, board, layout)
        begun = replace(outcome, state=LayoutState.UNDER_WAY)
        return self._carried_out(Intent(layout, stay, begun, self._clock()), planned, board)

    def _carried_out(self, intent: Intent, planned: Sequence[Planned], board: Board) -> LayoutOutcome:
        until = time.monotonic() + self._limits.deadline_s
        state, detail = LayoutState.DONE, ""
        self._journal.write(intent)
        try:
            for number, one in enumerate(planned):
                self._begin(number, intent, until)
                intent = intent.did(self._clock(), number, self._done(intent.outcome.gpu, one))
                self._journal.write(intent)
            _verify(intent, board)
        except _ResetRequiredError:
            state, detail = LayoutState.RESET_REQUIRED, _RESET.format(intent.outcome.gpu)
        except (_StepError, NotFoundError) as error:
            state, detail = LayoutState.FAILED, str(error)
        except pynvml.NVMLError as error:
            state, detail = LayoutState.FAILED, why_of(error)
        intent = intent.came(self._clock(), state, detail)
        self._journal.write(intent)
        return intent.outcome

    def _begin(self, number: int, intent: Intent, until: float) -> None:
        if time.monotonic() > until:
            raise _StepError(f"{self._limits.deadline_s:g} s were over; asking again goes on from here")
        self._journal.write(intent.came(self._clock(), LayoutState.UNDER_WAY, f"step {number + 1} is begun"))

    def _done(self, gpu: str, one: Planned) -> LayoutStep:
        """The step, once it is done."""
        if one.step.piece == OFF:
            _set_mode(gpu, on=one.step.act is Act.DESTROY)
        elif one.step.act is Act.DESTROY:
            self._destroy(gpu, one)
        else:
            return _created(gpu, one)
        return replace(one.step, done=True)

    def _destroy(self, gpu: str, one: Planned) -> None:
        assert one.instance is not None  # noqa: S101 - steps() gives it to every slice that goes
        until = time.monotonic() + self._limits.settle_s
        while True:
            if pids := _same(gpu, one.instance).pids:
                raise _StepError(f"{at(one.step.piece)} is in use by {', '.join(named(pids))}")
            try:
                return nvml.destroy(gpu, one.instance.id)
            except pynvml.NVMLError_InUse:
                if time.monotonic() > until:
                    raise _StepError(f"{at(one.step.piece)} is in use by what the driver does not name") from None
            time.sleep(_POLL_S)


def _created(gpu: str, one: Planned) -> LayoutStep:
    """A GPU instance, or the one that was begun, with a compute instance."""
    assert one.profile is not None  # noqa: S101 - a layout with a profile that the driver lacks is refused
    piece = one.step.piece
    if one.instance is not None:
        _same(gpu, one.instance)
    try:
        compute = nvml.complete(gpu, one.instance.id if one.instance else nvml.create(gpu, one.profile, piece.start))
    except pynvml.NVMLError_InsufficientResources:
        raise _StepError(f"no room for {at(piece)}: somebody else cuts the GPU too") from None
    short = f"its compute instance has {compute.sm} of {one.profile.sm} SMs" if compute.sm < one.profile.sm else ""
    return replace(one.step, done=True, uuid=compute.uuid, note=short)


def _set_mode(gpu: str, *, on: bool) -> None:
    try:
        if not nvml.set_mode(gpu, on=on):
            raise _ResetRequiredError
    except pynvml.NVMLError_InUse:
        who = ", ".join(named(_read(gpu).pids)) or "what the driver does not name, such as a monitoring agent"
        raise _StepError(f"the GPU is in use by {who}") from None


def _verify(intent: Intent, board: Board) -> None:
    """Look at the GPU once more."""
    reading = _read(intent.outcome.gpu)
    if left := steps(reading, board, intent.layout):
        raise _StepError(f"{at(left[0].step.piece)} is not as it was left: somebody else cuts the GPU too")
    there = {uuid for instance in reading.instances for uuid in instance.uuids}
    if gone := set(intent.staying) - there:
        raise _StepError(f"slices that were to stay are gone: {', '.join(sorted(gone))}")


def _same(gpu: str, known: Instance) -> Instance:
    """The instance as it is now. Raises _StepError where its id is another's by now: ids are used again."""
    there = nvml.instance(gpu, known.id)
    place = (known.profile_id, known.start, known.size)
    if there is None or (there.profile_id, there.start, there.size) != place or set(there.uuids) - set(known.uuids):
        raise _StepError(f"GPU instance {known.id} is another one by now: somebody else cuts the GPU too")
    return there


def _read(gpu: str) -> Reading:
    """Raises NotFoundError."""
    try:
        return nvml.read(gpu)
    except pynvml.NVMLError_NotFound:
        raise NotFoundError("GPU", gpu, nvml.uuids()) from None


def _canonical(board: Board, layout: Collection[Slice]) -> tuple[Slice, ...]:
    """Profiles by the names of our table, where it knows them."""
    names = {p.profile: found.name for p in layout if (found := board.profile(p.profile))}
    return tuple(sorted(Slice(names.get(p.profile, p.profile), p.start) for p in layout))


@contextmanager
def _session() -> Iterator[None]:
    """NVML while it is used: it counts who does, in a process. Raises TargetUnreachableError."""
    try:
        pynvml.nvmlInit()
        try:
            yield
        finally:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise TargetUnreachableError("NVML", why_of(error)) from None
