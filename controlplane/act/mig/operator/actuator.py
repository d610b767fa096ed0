"""Cuts GPUs under NVIDIA's GPU operator."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from controlplane.act.mig.operator import reading, writing
from controlplane.act.mig.operator.change import NodeChange, failed
from controlplane.act.mig.operator.cuts import Cuts, Entry, cuts_in, cuts_of, cuts_wanted, resources_of
from controlplane.act.mig.operator.draining import evict
from controlplane.act.mig.operator.journal import Phase, journal_of
from controlplane.act.mig.operator.next_step import (
    STRATEGY,
    Do,
    Limits,
    Next,
    View,
    at_work_for_others,
    is_busy,
    is_under_way,
    label_of,
    next_step,
)
from controlplane.act.mig.operator.outcome import outcome_on
from controlplane.domain.errors import ConflictError, ControlPlaneError, NotFoundError, TargetUnreachableError
from controlplane.domain.mig import GpuLayout, LayoutOutcome, LayoutState, Slice
from controlplane.kube.connection import ApiServerError
from controlplane.kube.nodes import Nodes

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_CONFLICT = 409
_UNAUTHORISED = 401


class Worker(Protocol):
    """A thread for calls that block."""

    async def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """What `work` gives or raises. Raises TimeoutError."""
        ...

    def close(self) -> None:
        """Let the thread end."""
        ...


class GpuReader(Protocol):
    """Tells how the GPUs of a node are cut, in the order of their indices: the agents do."""

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """The GPUs of a node. Raises TargetUnreachableError, ConflictError, NotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class GpuOperator:
    """Where the operator is: its API server, its namespace, and the ConfigMap with mig-parted's file."""

    config_map: str
    namespace: str = "gpu-operator"
    kubeconfig: str = ""
    context: str = ""


@dataclass(slots=True)
class _Run:
    """What this process knows of a change beside what the node shows."""

    node: str
    wanted: Cuts
    gpus: tuple[GpuLayout, ...] = ()
    drained: dict[str, None] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    pending_seen: bool = False
    touched: bool = False
    unanswered_since: float | None = None


class MigOperator:
    """Cuts the GPUs of nodes through mig-manager; adapts port MigActuator, and changes a node in one go by `change`.

    Every change drains the whole node of pods with GPUs, for Kubernetes tells nobody which GPU a pod has, and
    mig-parted cuts a GPU anew from nothing, at places of its own choice. `request_s` bounds one request, `steps_s`
    those of one look; an API server that does not answer is borne for `patience_s`. `clock` gives unix seconds.
    """

    def __init__(
        self,
        operator: GpuOperator,
        reader: GpuReader,
        worker: Worker,
        *,
        clock: Callable[[], float],
        limits: Limits | None = None,
        request_s: float = 10.0,
        steps_s: float = 60.0,
        patience_s: float = 120.0,
        poll_interval_s: float = 2.0,
    ) -> None:
        """Connects to nothing yet."""
        self._operator = operator
        self._reader = reader
        self._worker = worker
        self._clock = clock
        self._limits = limits or Limits()
        self._request_s = request_s
        self._steps_s = steps_s
        self._patience_s = patience_s
        self._poll_interval_s = poll_interval_s
        self._connected: Nodes | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """The GPUs of a node. Raises TargetUnreachableError, ConflictError, NotFoundError."""
        return await self._reader.layouts(node)

    async def apply(self, node: str, gpu: str, layout: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        """Give a GPU this layout, as far as counts go. Never raises for a failing node."""
        try:
            before = await self._reader.layouts(node)
        except ControlPlaneError as error:
            return LayoutOutcome(gpu, _state(error), detail=str(error))
        return outcome_on(gpu, layout, before, await self.change(node, {gpu: layout}, dry_run=dry_run))

    async def change(self, node: str, layouts: Mapping[str, Collection[Slice]], *, dry_run: bool) -> NodeChange:
        """Give GPUs of a node these layouts, by UUID, in one go. Never raises for a failing node."""
        async with self._turns[node]:
            try:
                if not dry_run:
                    await self._settle(node)
                wanted = cuts_wanted(await self._reader.layouts(node), layouts)
                if dry_run:
                    return await self._planned(_Run(node, wanted))
            except (ControlPlaneError, TimeoutError) as error:
                return failed(node, _state(error), str(error))
            return await self._carry_out(_Run(node, wanted))

    async def resume(self) -> tuple[NodeChange, ...]:
        """Go on with the changes that an earlier process did not bring to their end; not those that failed.

        Raises ApiServerError, TimeoutError, ConflictError for a ConfigMap that is no file of mig-parted.
        """
        where = self._operator.namespace, self._operator.config_map
        changes = await self._call(lambda: reading.under_way(self._nodes(), *where))
        return tuple(await asyncio.gather(*(self._resume(node, entry) for node, entry in changes)))

    async def close(self) -> None:
        """Let go of connections and the thread; those of the reader are its owner's."""
        if self._connected is not None:
            self._connected.close()
        self._worker.close()

    async def _resume(self, node: str, entry: Entry | None) -> NodeChange:
        async with self._turns[node]:
            if entry is None:
                why = f"the configuration that it was to have is gone; node {node} stays cordoned"
                return failed(node, LayoutState.FAILED, why)
            return await self._carry_out(_Run(node, cuts_in(entry)))

    async def _settle(self, name: str) -> None:
        """Wait for what an earlier process asked for, so that the GPUs are read as they are after it.

        Raises ApiServerError, TimeoutError, ConflictError where mig-manager is at work for somebody else.
        """
        while True:
            node = await self._call(lambda: self._nodes().read(name))
            if foreign := at_work_for_others(node):
                raise ConflictError(foreign)
            if not is_under_way(node, self._clock(), self._limits):
                return
            await asyncio.sleep(self._poll_interval_s)

    async def _planned(self, run: _Run) -> NodeChange:
        view = await self._look(run)
        following = next_step(view, self._limits)
        if following.do is Do.REFUSE:
            return failed(run.node, LayoutState.REFUSED, following.why)
        drained = () if view.cuts == view.wanted else view.drain.names
        return NodeChange(run.node, LayoutState.PLANNED, following.why, drained, view.resources)

    async def _carry_out(self, run: _Run) -> NodeChange:
        """Look and do the next step, until there is an end."""
        while True:
            try:
                view = await self._look(run)
                if (change := await self._do(next_step(view, self._limits), view, run)) is not None:
                    return change
                run.unanswered_since = None
            except (ControlPlaneError, TimeoutError) as error:
                if (change := self._unanswered(error, run)) is not None:
                    return change
            await asyncio.sleep(self._poll_interval_s)

    def _unanswered(self, error: ControlPlaneError | TimeoutError, run: _Run) -> NodeChange | None:
        """The end of a change whose step raised; None: it may go well a moment later."""
        if _refused(error):
            stays = f"; node {run.node} stays cordoned" if run.touched else ""
            state = LayoutState.FAILED if run.touched else LayoutState.REFUSED
            return failed(run.node, state, f"{error}{stays}", tuple(run.drained))
        now = self._clock()
        run.unanswered_since = now if run.unanswered_since is None else run.unanswered_since
        if now - run.unanswered_since <= self._patience_s:
            return None
        return failed(run.node, LayoutState.UNREACHABLE, str(error), tuple(run.drained))

    async def _look(self, run: _Run) -> View:
        """The node as it is. Raises ApiServerError, TimeoutError, ConflictError."""
        now = self._clock()  # before it is read, so that nothing is late that was in time when it was looked at
        node, drain = await self._call(lambda: reading.seen(self._nodes(), run.node))
        resources = resources_of(label_of(node, STRATEGY), run.wanted)
        run.gpus = ()
        if not is_busy(node):  # while mig-manager is at work, the agent may be away for that
            with suppress(TargetUnreachableError, ConflictError, NotFoundError):
                run.gpus = await self._reader.layouts(run.node)
        cuts = cuts_of(run.gpus) if run.gpus else None
        journal = journal_of(node)
        run.touched = run.touched or journal is not None
        run.pending_seen = run.pending_seen or (
            is_busy(node) and journal is not None and journal.phase is Phase.CHANGING
        )
        return View(node, run.wanted, resources, cuts, drain, now, run.pending_seen)

    async def _do(self, following: Next, view: View, run: _Run) -> NodeChange | None:
        """Do a step; gives what came of the change where that was its last. Raises ApiServerError, TimeoutError."""
        why = following.why
        if following.do is not Do.WAIT:
            _log.info("change of MIG layouts", node=run.node, step=following.do.value, why=why)
        match following.do:
            case Do.BEGIN | Do.LABEL:
                await self._call(lambda: self._write(following.do, view))
                run.pending_seen, run.touched = False, True
            case Do.EVICT:
                run.kept = await self._call(lambda: evict(self._nodes(), view.drain.pods))
                run.drained |= dict.fromkeys(view.drain.names)
            case Do.FINISH:
                await self._call(lambda: writing.release(self._nodes(), view))
                return NodeChange(run.node, LayoutState.DONE, why, tuple(run.drained), view.resources, run.gpus)
            case Do.GIVE_UP:
                await self._call(lambda: writing.release(self._nodes(), view))
                names = [f"{n} (kept by a PodDisruptionBudget)" if n in run.kept else n for n in view.drain.names]
                why += ("" if view.drain.alone else ", ".join(names)) + f"; node {run.node} was uncordoned"
                return failed(run.node, LayoutState.FAILED, why, tuple(run.drained))
            case Do.FAIL:
                reason = await self._call(lambda: reading.reason(self._nodes(), view))
                why += f": {reason}" if reason else ""
                await self._call(lambda: writing.fail(self._nodes(), view, why))
                why += f"; node {run.node} stays cordoned"
                return failed(run.node, LayoutState.FAILED, why, tuple(run.drained))
            case Do.REFUSE:
                return failed(run.node, LayoutState.REFUSED, why)
            case Do.WAIT:
                pass
        return None

    def _write(self, do: Do, view: View) -> None:
        """On the thread: the entry first, so that it is there before anything names it."""
        nodes = self._nodes()
        writing.write_entry(nodes, self._operator.namespace, self._operator.config_map, view.wanted)
        (writing.begin if do is Do.BEGIN else writing.label)(nodes, view)

    def _nodes(self) -> Nodes:
        """On the thread: the connection, kept."""
        if self._connected is None:
            self._connected = Nodes(self._operator.kubeconfig, self._operator.context, self._request_s)
        return self._connected

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._worker.call(work, self._steps_s)
        except ApiServerError as error:
            if error.status == _UNAUTHORISED and self._connected is not None:
                self._connected.close()
                self._connected = None  # so that a new token or kubeconfig is read
            raise


def _refused(error: ControlPlaneError | TimeoutError) -> bool:
    """Whether it will not mend by itself."""
    if isinstance(error, ApiServerError):
        return error.refused and error.status != _CONFLICT
    return not isinstance(error, TargetUnreachableError | TimeoutError)


def _state(error: ControlPlaneError | TimeoutError) -> LayoutState:
    return LayoutState.REFUSED if _refused(error) else LayoutState.UNREACHABLE
