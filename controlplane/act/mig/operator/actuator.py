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
from controlplane.act.mig.operator.cuts import Cuts, Entry, cuts_in, cuts_of, cuts_wanted, resources_of, unread
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
from controlplane.domain.errors import (
    ConflictError,
    ControlPlaneError,
    NotFoundError,
    NotLeadingError,
    TargetUnreachableError,
)
from controlplane.domain.leader import left_undone
from controlplane.domain.mig import GpuLayout, GpuOperator, LayoutOutcome, LayoutState, NodeOutcome, Slice
from controlplane.kube.connection import ApiServerError
from controlplane.kube.nodes import Nodes

T = TypeVar("T")
Touched = tuple[str, ...] | None
"""The models that a change touches; None: not told."""
Held = Callable[[Touched], str]
"""Why a person forbids a change, by the models that it touches; empty: nobody does."""
Stopped = Callable[[], str]
"""Why this process may do nothing more; empty: it may."""

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


@dataclass(slots=True)
class _Run:
    """What this process knows of a change beside what the node shows."""

    node: str
    wanted: Cuts
    models: Touched = None
    held: Held = lambda _: ""
    stopped: Stopped = lambda: ""
    gpus: tuple[GpuLayout, ...] = ()
    drained: dict[str, None] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    pending_seen: bool = False
    touched: bool = False
    unanswered_since: float | None = None

    def leave(self, write: str) -> None:
        """Asked before each write, of which one look may make several. Raises NotLeadingError."""
        if why := self.stopped():
            raise left_undone(write, why)


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

    async def change(
        self,
        node: str,
        layouts: Mapping[str, Collection[Slice]],
        *,
        dry_run: bool,
        models: Touched = None,
        held: Held = lambda _: "",
        stopped: Stopped = lambda: "",
    ) -> NodeChange:
        """Give GPUs of a node these layouts, by UUID, in one go. Never raises for a failing node.

        `held` is asked at every look about the `models` that it touches. Until mig-manager has the word it ends the
        change, and the node is opened again; after that the change goes to its end. `stopped` ends it at any look,
        and nothing more is written: the node is for whoever goes on with it.
        """
        async with self._turns[node]:
            try:
                if not dry_run:
                    await self._settle(node, stopped)
                wanted = cuts_wanted(await self._reader.layouts(node), layouts)
                if dry_run:
                    return await self._planned(_Run(node, wanted))
            except (ControlPlaneError, TimeoutError) as error:
                why = stopped()
                return NodeChange(node, LayoutState.HELD, why) if why else failed(node, _state(error), str(error))
            return await self._carry_out(_Run(node, wanted, models, held, stopped))

    async def cut(
        self, node: str, layouts: Mapping[str, Collection[Slice]], models: Touched, held: Held, stopped: Stopped
    ) -> NodeOutcome:
        """The same, for who wants only to know why it was not done. Never raises."""
        return _brief(await self.change(node, layouts, dry_run=False, models=models, held=held, stopped=stopped))

    async def resume(self, held: Held = lambda _: "", stopped: Stopped = lambda: "") -> tuple[NodeChange, ...]:
        """Go on with the changes that an earlier process did not bring to their end; not those that failed.

        Raises ApiServerError, TimeoutError, ConflictError for a ConfigMap that is no file of mig-parted.
        """
        where = self._operator.namespace, self._operator.config_map
        changes = await self._call(lambda: reading.under_way(self._nodes(), *where))
        return tuple(await asyncio.gather(*(self._resume(*change, held, stopped) for change in changes)))

    async def go_on(self, held: Held, stopped: Stopped) -> tuple[NodeOutcome, ...]:
        """The same, for who wants only to know what came of them. Raises as `resume` does."""
        return tuple(map(_brief, await self.resume(held, stopped)))

    async def failed(self) -> tuple[NodeOutcome, ...]:
        """The nodes that stay cordoned since their change failed, with why. Raises ApiServerError, TimeoutError."""
        left = await self._call(lambda: reading.left_failed(self._nodes()))
        return tuple(
            NodeOutcome(node, LayoutState.FAILED, str(failed(node, LayoutState.FAILED, why))) for node, why in left
        )

    async def close(self) -> None:
        """Let go of connections and the thread; those of the reader are its owner's."""
        if self._connected is not None:
            self._connected.close()
        self._worker.close()

    async def _resume(
        self, node: str, entry: Entry | None, models: Touched, held: Held, stopped: Stopped
    ) -> NodeChange:
        async with self._turns[node]:
            if entry is None:
                why = f"the configuration that it was to have is gone; node {node} stays cordoned"
                return failed(node, LayoutState.FAILED, why)
            return await self._carry_out(_Run(node, cuts_in(entry), models, held, stopped, touched=True))

    async def _settle(self, name: str, stopped: Stopped) -> None:
        """Wait for what an earlier process asked for, so that the GPUs are read as they are after it, or until stopped.

        Raises ApiServerError, TimeoutError, ConflictError where mig-manager is at work for somebody else.
        """
        while True:
            node = await self._call(lambda: self._nodes().read(name))
            if foreign := at_work_for_others(node):
                raise ConflictError(foreign)
            if stopped() or not is_under_way(node, self._clock(), self._limits):
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
        if why := str(error) if isinstance(error, NotLeadingError) else run.stopped():
            return NodeChange(run.node, LayoutState.HELD, why, tuple(run.drained))
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
        cuts = cuts_of(run.gpus) if run.gpus and not unread(run.gpus) else None
        journal = journal_of(node)
        run.touched = run.touched or journal is not None
        run.pending_seen = run.pending_seen or (
            is_busy(node) and journal is not None and journal.phase is Phase.CHANGING
        )
        held, stopped = run.held(run.models), run.stopped()  # last, so that what is done next is by their newest word
        return View(
            node, run.wanted, resources, cuts, drain, now, run.pending_seen, run.models, held, stopped, run.touched
        )

    async def _do(self, following: Next, view: View, run: _Run) -> NodeChange | None:
        """Do a step; gives what came of the change where that was its last. Raises ApiServerError, TimeoutError."""
        why = following.why
        if following.do is not Do.WAIT:
            _log.info("change of MIG layouts", node=run.node, step=following.do.value, why=why)
        match following.do:
            case Do.BEGIN | Do.LABEL:
                await self._write(run, lambda nodes: self._go_on(nodes, following.do, view))
                run.pending_seen, run.touched = False, True
            case Do.EVICT:
                run.kept = await self._write(run, lambda nodes: evict(nodes, view.drain.pods))
                run.drained |= dict.fromkeys(view.drain.names)
            case Do.FINISH:
                await self._write(run, lambda nodes: writing.release(nodes, view))
                return NodeChange(run.node, LayoutState.DONE, why, tuple(run.drained), view.resources, run.gpus)
            case Do.GIVE_UP | Do.FAIL | Do.HOLD:
                return await self._broken_off(following, view, run)
            case Do.LEAVE:
                return NodeChange(run.node, LayoutState.HELD, why, tuple(run.drained))
            case Do.REFUSE:
                return failed(run.node, LayoutState.REFUSED, why)
            case Do.WAIT:
                pass
        return None

    async def _broken_off(self, following: Next, view: View, run: _Run) -> NodeChange:
        """End it before its end. Raises ApiServerError, TimeoutError."""
        why = following.why
        if following.do is Do.HOLD:
            if view.journal is not None and view.journal.phase is Phase.DRAINING:
                await self._write(run, lambda nodes: writing.release(nodes, view))
                why += f"; its GPUs are as they were, and node {run.node} was uncordoned"
            return NodeChange(run.node, LayoutState.HELD, why, tuple(run.drained))
        if following.do is Do.FAIL:
            reason = await self._call(lambda: reading.reason(self._nodes(), view))
            why += f": {reason}" if reason else ""
            await self._write(run, lambda nodes: writing.fail(nodes, view, why))
            why += f"; node {run.node} stays cordoned"
            return failed(run.node, LayoutState.FAILED, why, tuple(run.drained))
        await self._write(run, lambda nodes: writing.release(nodes, view))
        names = [f"{n} (kept by a PodDisruptionBudget)" if n in run.kept else n for n in view.drain.names]
        why += ("" if view.drain.alone else ", ".join(names)) + f"; node {run.node} was uncordoned"
        return failed(run.node, LayoutState.FAILED, why, tuple(run.drained))

    def _go_on(self, nodes: Nodes, do: Do, view: View) -> None:
        """On the thread: the entry first, so that it is there before anything names it."""
        writing.write_entry(nodes, self._operator.namespace, self._operator.config_map, view.wanted)
        (writing.begin if do is Do.BEGIN else writing.label)(nodes, view)

    def _nodes(self) -> Nodes:
        """On the thread: the connection, kept."""
        if self._connected is None:
            self._connected = Nodes(self._operator.kubeconfig, self._operator.context, self._request_s)
        return self._connected

    async def _write(self, run: _Run, write: Callable[[Nodes], T]) -> T:
        """On the thread. Raises what `write` does, TimeoutError, and NotLeadingError where the run is stopped."""
        return await self._call(lambda: write(self._nodes().asking(run.leave)))

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._worker.call(work, self._steps_s)
        except ApiServerError as error:
            if error.status == _UNAUTHORISED and self._connected is not None:
                self._connected.close()
                self._connected = None  # so that a new token or kubeconfig is read
            raise


def _brief(change: NodeChange) -> NodeOutcome:
    if change.state is LayoutState.DONE:
        return NodeOutcome(change.node, change.state)
    said = str(change) if change.state is LayoutState.HELD else f"{change.state.value.replace('_', ' ')}: {change}"
    return NodeOutcome(change.node, change.state, said)


def _refused(error: ControlPlaneError | TimeoutError) -> bool:
    """Whether it will not mend by itself."""
    if isinstance(error, ApiServerError):
        return error.refused and error.status != _CONFLICT
    return not isinstance(error, TargetUnreachableError | TimeoutError)


def _state(error: ControlPlaneError | TimeoutError) -> LayoutState:
    return LayoutState.REFUSED if _refused(error) else LayoutState.UNREACHABLE
