"""Carries out steps on Triton servers through their explicit model control."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from controlplane.act.failure_table import (
    LOAD_TIMEOUT_REMEDY,
    NOT_FOUND_REMEDY,
    UNLOAD_TIMEOUT_REMEDY,
)
from controlplane.act.failures import silent_faults
from controlplane.act.outcome import Done, outcome_of
from controlplane.act.triton_control import Counters, TritonControl
from controlplane.act.triton_versions import NOT_LOADED_REMEDY, Memory, as_serving, set_versions
from controlplane.domain.batching import with_batching
from controlplane.domain.decision import Action, Outcome, Step, Target
from controlplane.domain.errors import ActionError, ControlPlaneError, NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.instance_groups import total_instances, with_total
from controlplane.domain.leader import leave_by
from controlplane.domain.observation import ControlMode
from controlplane.domain.rollout import KeptConfigs

_log = structlog.get_logger(__name__)

_NO_SUCH_MODEL = "controlplane-asks-for-the-control-mode"
_RELOAD_PARAMETER = "controlplane_reload"
_HELD_STATES = frozenset({"READY", "LOADING", "UNLOADING"})


@dataclass(slots=True)
class _Connection:
    """A server's control, how many use it, and whether the server has left: then the last user closes it."""

    spec: ServerSpec
    control: TritonControl
    users: int = 0
    left: bool = False


class TritonActuator:
    """The actuator for Triton servers in explicit mode; adapts port Actuator.

    A load that is not answered within `load_timeout_s` and an unload that has not happened within `unload_timeout_s`
    fail with class TIMEOUT, and the server goes on by itself. `clock` gives unix seconds, for outcomes; `may_act` is
    asked before each load and unload: whether this process leads for certain. `answers` probes a version (server,
    model, version) and gives what is wrong with its answer; `kept` remembers how versions are loaded by servers that
    restart.

    The python backend writes `__pycache__` into the version folder at a model's first load. Triton takes it for a new
    version of the files, so that the first override afterwards is a full reload in place of an in-place update. After a
    load of ours that is paid for at once, in the background: the same configuration is sent as an override, the model
    serves on meanwhile, and further steps for it wait. Where there is nothing to pay Triton takes it as no change.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        clock: Callable[[], float],
        load_timeout_s: float = 300.0,
        unload_timeout_s: float = 60.0,
        call_timeout_s: float = 5.0,
        poll_interval_s: float = 0.1,
        may_act: Callable[[], bool] = lambda: True,
        answers: Callable[[str, str, str], Awaitable[str]] | None = None,
        kept: KeptConfigs | None = None,
    ) -> None:
        """Connects to nothing yet."""
        self._leave, self._answers, self._memory = leave_by(may_act), answers, Memory(kept)
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._unload_timeout_s = unload_timeout_s
        self._call_timeout_s = call_timeout_s
        self._poll_interval_s = poll_interval_s
        self._specs: dict[str, ServerSpec] = {}
        self._served_names: dict[str, str] = {}
        self._connections: dict[str, _Connection] = {}
        self._settling: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers from now on; steps under way on others come to their end."""
        self._specs = {spec.name: spec for spec in fleet.servers if spec.kind is ServerKind.TRITON}
        self._served_names = {model.name: model.served_name for model in fleet.models}
        for server, connection in list(self._connections.items()):
            if self._specs.get(server) == connection.spec:
                continue
            del self._connections[server]
            connection.left = True
            settling = [task for (name, _), task in self._settling.items() if name == server]
            for task in settling:
                task.cancel()
            if not connection.users:
                closing = asyncio.create_task(_close(connection, settling), name=f"let go of {server}")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def control_mode(self, server: str) -> ControlMode:
        """Whether models may be loaded and unloaded, found out by unloading a model that does not exist.

        Explicit mode takes that as done, NONE and POLL refuse alike. Raises NotFoundError for a server that is not one
        of the Tritons, TargetUnreachableError when it gives no answer that tells.
        """
        try:
            async with self._control(server) as control:
                await control.unload(_NO_SUCH_MODEL)
        except ActionError as error:
            if error.failure is FailureClass.CONTROL_NOT_ALLOWED:
                return ControlMode.NOT_ALLOWED
            raise TargetUnreachableError(server, str(error)) from error
        return ControlMode.EXPLICIT

    async def apply(self, action: Action) -> Outcome:
        """Carry out one step; the outcome tells what came of it. Issuing a step again changes nothing."""
        return await outcome_of(action, self._carry_out(action), self._clock)

    async def close(self) -> None:
        """Let go of connections and of background work."""
        for task in self._settling.values():
            task.cancel()
        await asyncio.gather(*self._settling.values(), *self._closing, return_exceptions=True)
        for connection in self._connections.values():
            await connection.control.close()
        self._settling.clear()
        self._connections.clear()

    async def _carry_out(self, action: Action) -> Done:
        async with self._control(action.server) as control:
            return await self._step(control, action)

    async def _step(self, control: TritonControl, action: Action) -> Done:
        model = self._served_names.get(action.model, action.model)
        if settling := self._settling.get((action.server, model)):
            await asyncio.wait([settling])
        match action.step:
            case Step.LOAD | Step.RELOAD:
                load = self._load if action.step is Step.LOAD else self._reload
                return await load(control, action, model)
            case Step.SET_INSTANCES:
                return await self._set_instances(control, model, action.target)
            case Step.UNLOAD:
                return await self._unload(control, model)
            case Step.CONFIGURE:
                return await self._configure(control, model, action.target)
            case Step.SET_VERSIONS:
                return await self._set_versions(control, action, model)
            case Step.HOLD | Step.SCALE | Step.TRAFFIC:
                return Done("nothing to do")

    async def _load(self, control: TritonControl, action: Action, model: str) -> Done:
        server, instances = action.server, action.target.instances
        before = await control.states(model)
        if before is None:
            message = f"{model} is not in the model repository of {server}"
            raise ActionError(message, FailureClass.MODEL_NOT_FOUND, NOT_FOUND_REMEDY)
        # In a rollout the repository's own policy may name a version that is broken.
        known = await self._memory.of(action)
        try:
            await self._send_load(control, model, known)
        except ActionError as error:
            if known is not None:
                await self._memory.refused(action, error)
            raise
        config = await control.config(model)
        if instances > 0 and total_instances(with_total(config, instances)) != total_instances(config):
            done = await self._set_instances(control, model, action.target)
            return Done(f"loaded; {done.detail}{_warnings(config)}")
        if "READY" not in before and config.get("backend") == "python":
            self._settle(control, server, model, await as_serving(control, model, config, action.target))
        return Done(f"loaded with {_counted(total_instances(config))}{_warnings(config)}")

    async def _set_instances(self, control: TritonControl, model: str, target: Target) -> Done:
        instances, config = target.instances, await control.config(model)
        have = total_instances(config)
        wanted = with_total(config, instances)
        will_have = total_instances(wanted)
        rounded = "" if will_have == instances else f" ({instances} asked for; the instance groups allow {will_have})"
        if will_have == have:
            return Done(f"has {_counted(have)} already{rounded}")
        before = await control.counters(model)
        await self._send_load(control, model, await as_serving(control, model, wanted, target))
        in_place = _was_in_place(before, await control.counters(model))
        how = {True: "in place", False: "by a full reload", None: "no traffic that would tell if in place"}[in_place]
        warnings = _warnings(config, _as_stats(before))
        return Done(f"from {have} to {_counted(will_have)}, {how}{rounded}{warnings}", in_place)

    async def _set_versions(self, control: TritonControl, action: Action, model: str) -> Done:
        async def send(config: Mapping[str, Any]) -> None:
            await self._send_load(control, model, config)

        async def answers(version: str) -> str:
            return "" if self._answers is None else await self._answers(action.server, action.model, version)

        before = await control.ready_versions(model)
        if not before:  # the server restarted: that tells nothing of the new version
            raise ActionError(f"{model} is not loaded any more", FailureClass.SUPERSEDED, NOT_LOADED_REMEDY)
        config = await control.config(model)
        await self._memory.keep(action, config)
        return await set_versions(control, model, before, config, action.target, send, answers)

    async def _unload(self, control: TritonControl, model: str) -> Done:
        self._leave(f"the unload of {model}")
        await control.unload(model)
        deadline = time.monotonic() + self._unload_timeout_s
        while held := _HELD_STATES & (await control.states(model) or frozenset()):
            if time.monotonic() > deadline:
                message = f"{model} is still {', '.join(sorted(held))} {self._unload_timeout_s:g} s after its unload"
                raise ActionError(message, FailureClass.TIMEOUT, UNLOAD_TIMEOUT_REMEDY)
            await asyncio.sleep(self._poll_interval_s)
        return Done("unloaded")

    async def _reload(self, control: TritonControl, action: Action, model: str) -> Done:
        """A full reload in the background of what still serves: any change besides instance_group forces one.

        An unload first would hang: a python instance whose stub died under requests stays UNLOADING for ever.
        """
        if "READY" not in (await control.states(model) or frozenset()):
            return await self._load(control, action, model)
        instances = action.target.instances
        config = await as_serving(control, model, await control.config(model), action.target)
        wanted = with_total(config, instances) if instances > 0 else config
        parameters = dict(wanted.get("parameters", {}))
        parameters[_RELOAD_PARAMETER] = {"string_value": f"{self._clock():.3f}"}
        await self._send_load(control, model, {**wanted, "parameters": parameters})
        return Done(f"reloaded with {_counted(total_instances(wanted))}", in_place=False)

    async def _configure(self, control: TritonControl, model: str, target: Target) -> Done:
        """Other dynamic batching by a full reload in the background; all else stays as it is."""
        config = await control.config(model)
        wanted = config if target.batching is None else with_batching(config, target.batching)
        if wanted == config:
            return Done("has that batching already")
        await self._send_load(control, model, await as_serving(control, model, wanted, target))
        return Done(f"reloaded with other batching{_warnings(wanted)}", in_place=False)

    async def _send_load(self, control: TritonControl, model: str, config: Mapping[str, Any] | None = None) -> None:
        self._leave(_said(model, config))
        try:
            await control.load(model, self._load_timeout_s, config)
        except ActionError as error:
            if error.failure is not FailureClass.TIMEOUT:
                raise
            message = f"{model} is not loaded after {self._load_timeout_s:g} s: {error}"
            raise ActionError(message, FailureClass.TIMEOUT, LOAD_TIMEOUT_REMEDY) from error

    def _settle(self, control: TritonControl, server: str, model: str, config: Mapping[str, Any]) -> None:
        """Pay for the first override in the background."""
        key = (server, model)
        connection = self._connections.get(server)
        if key in self._settling or connection is None or connection.control is not control:
            return

        async def pay() -> None:
            try:
                await self._send_load(control, model, config)
            except ControlPlaneError as error:
                _log.warning(
                    "the first instance change will be a full reload", model=model, server=server, why=str(error)
                )

        task = asyncio.create_task(pay(), name=f"settle {model} on {server}")
        self._settling[key] = task
        task.add_done_callback(lambda _: self._settling.pop(key, None))

    @asynccontextmanager
    async def _control(self, server: str) -> AsyncIterator[TritonControl]:
        """The server's control, open while it is used. Raises NotFoundError."""
        connection = self._connections.get(server)
        if connection is None:
            if server not in self._specs:
                raise NotFoundError("Triton server", server, tuple(sorted(self._specs)))
            spec = self._specs[server]
            connection = _Connection(spec, TritonControl(spec, call_timeout_s=self._call_timeout_s))
            self._connections[server] = connection
        connection.users += 1
        try:
            yield connection.control
        finally:
            connection.users -= 1
            if connection.left and not connection.users:
                await connection.control.close()


async def _close(connection: _Connection, first: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.gather(*first, return_exceptions=True)
    await connection.control.close()


def _was_in_place(before: Counters, after: Counters) -> bool | None:
    """A full reload starts a model's statistics anew, an in-place update goes on with them; None: there were none."""
    if not any(before.values()):
        return None
    return all(after.get(name, 0) >= count for name, count in before.items())


def _warnings(config: Mapping[str, Any], stats: Mapping[str, Any] | None = None) -> str:
    """What Triton took without a word though it does not work as configured."""
    return "".join(f"; warning ({f.failure.value}): {f.what}; {f.remedy}" for f in silent_faults(config, stats))


def _as_stats(counters: Counters) -> dict[str, Any]:
    """The counters of all versions together, in the form of one entry of Triton's `model_stats`."""
    total: dict[str, int] = {}
    for name, count in counters.items():
        kind = name.partition("/")[2]
        total[kind] = total.get(kind, 0) + count
    return {
        "execution_count": total.get("executions", 0),
        "inference_count": total.get("inferences", 0),
        "inference_stats": {kind: {"ns": total.get(f"{kind}_ns", 0)} for kind in ("queue", "compute_infer")},
    }


def _said(model: str, config: Mapping[str, Any] | None) -> str:
    """A load, for people."""
    if config is None:
        return f"the load of {model}"
    chosen = config.get("version_policy", {}).get("specific", {}).get("versions", ())
    versions = f" of version {', '.join(map(str, chosen))}" if chosen else ""
    return f"the configuration of {model} with {_counted(total_instances(config))}{versions}"


def _counted(instances: int) -> str:
    return f"{instances} instance{'s' if instances != 1 else ''}"
