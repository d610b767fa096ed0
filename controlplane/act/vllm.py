"""Puts vLLM servers to sleep and wakes them, and loads and unloads their LoRA adapters.

Source: vLLM 0.32, entrypoints/serve/dev/sleep and entrypoints/serve/lora, and what a real one answered. Sleep is at
level 1: the weights wait in the machine's memory. Level 2 is left out: it discards them, and waking brings back none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.act.failure_table import LOAD_TIMEOUT_REMEDY
from controlplane.act.outcome import Done, outcome_of
from controlplane.act.vllm_api import VllmApi
from controlplane.act.vllm_failures import NOT_AWAKE_REMEDY, RELOAD_REMEDY, SLEEP_TIMEOUT_REMEDY
from controlplane.domain.decision import OF_REPLICAS, Action, Outcome, Step
from controlplane.domain.errors import ActionError, NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.leader import leave_by
from controlplane.domain.lora import Lora
from controlplane.domain.observation import ControlMode


class VllmActuator:
    """The actuator for vLLM servers; adapts port Actuator. A model has one instance there, or none.

    The server's own model is put to sleep for an unload, when requests under way are answered, and woken for a load.
    `read_token` gives what is in the file of an API key, and raises ValueError. What is not answered within
    `load_timeout_s` or `unload_timeout_s` fails with class TIMEOUT, and the server goes on by itself. `clock` gives
    unix seconds, for outcomes; `may_act` is asked before each write: whether this process leads for certain.
    """

    def __init__(
        self,
        fleet: Fleet,
        read_token: Callable[[str], str],
        *,
        clock: Callable[[], float],
        load_timeout_s: float = 300.0,
        unload_timeout_s: float = 60.0,
        call_timeout_s: float = 5.0,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connects to nothing yet."""
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._unload_timeout_s = unload_timeout_s
        self._api = VllmApi(read_token, call_timeout_s, leave_by(may_act))
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers from now on; steps under way on others come to their end."""
        self._specs = {spec.name: spec for spec in fleet.servers if spec.kind is ServerKind.VLLM}
        self._models = {model.name: model for model in fleet.models}

    async def control_mode(self, server: str) -> ControlMode:
        """What the server lets be done, adapters as far as any are configured. Changes nothing.

        An adapter that does not exist tells whether adapters may be loaded: everything that forbids it is said first.
        Raises TargetUnreachableError, NotFoundError.
        """
        spec = self._spec(server)
        lora = next((m.lora for m in self._models.values() if m.lora is not None and server in m.runs_on), None)
        sleeps = await self._allowed(spec, self._api.is_sleeping(spec))
        adapters = lora is not None and await self._takes_adapters(spec, lora)
        if sleeps:
            return ControlMode.EXPLICIT if adapters else ControlMode.SLEEP_ONLY
        return ControlMode.ADAPTERS_ONLY if adapters else ControlMode.NOT_ALLOWED

    async def apply(self, action: Action) -> Outcome:
        """Carry out one step; the outcome tells what came of it. Issuing a step again changes nothing."""
        return await outcome_of(action, self._done(action), self._clock)

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()

    async def _done(self, action: Action) -> Done:
        spec = self._spec(action.server)
        model = self._models.get(action.model)
        if action.step in (Step.HOLD, Step.SET_INSTANCES, *OF_REPLICAS):
            return Done("a model on vLLM has one instance" if action.step is Step.SET_INSTANCES else "nothing to do")
        if model is None or model.lora is None:
            return Done(await self._own_model(spec, action.step))
        return await self._adapter(spec, model.served_name, model.lora, action.step)

    async def _own_model(self, spec: ServerSpec, step: Step) -> str:
        if step is Step.RELOAD:
            message = f"the model that {spec.name} was started with cannot be reloaded"
            raise ActionError(message, FailureClass.CONTROL_NOT_ALLOWED, RELOAD_REMEDY)
        if step is Step.UNLOAD:
            try:
                await self._api.sleep(spec, self._unload_timeout_s)
            except TimeoutError:
                message = f"{spec.name} is not asleep after {self._unload_timeout_s:g} s"
                raise ActionError(message, FailureClass.TIMEOUT, SLEEP_TIMEOUT_REMEDY) from None
            return "asleep; its weights wait in the machine's memory"
        try:
            await self._api.wake(spec, self._load_timeout_s)
            asleep = await self._api.is_sleeping(spec)
        except TimeoutError:
            message = f"{spec.name} is not awake after {self._load_timeout_s:g} s"
            raise ActionError(message, FailureClass.TIMEOUT, LOAD_TIMEOUT_REMEDY) from None
        if asleep:
            raise ActionError(f"{spec.name} was woken and sleeps on", FailureClass.BACKEND, NOT_AWAKE_REMEDY)
        return "awake"

    async def _adapter(self, spec: ServerSpec, name: str, lora: Lora, step: Step) -> Done:
        try:
            there = (await self._api.adapters(spec, lora)).get(name)
            if step is Step.UNLOAD:
                return await self._unload(spec, name, lora, there)
            if there == lora.path and step is Step.LOAD:
                return Done("it is loaded already")
            await self._api.load(spec, name, lora, self._load_timeout_s, in_place=there is not None)
        except TimeoutError:
            message = f"{name} on {spec.name}: no answer in time"
            raise ActionError(message, FailureClass.TIMEOUT, LOAD_TIMEOUT_REMEDY) from None
        return Done(f"loaded from {lora.path}", in_place=there is not None)

    async def _unload(self, spec: ServerSpec, name: str, lora: Lora, there: str | None) -> Done:
        if there is None:
            return Done("it is not loaded")
        await self._api.unload(spec, name, lora)
        return Done("unloaded")

    async def _takes_adapters(self, spec: ServerSpec, lora: Lora) -> bool:
        return await self._allowed(spec, self._api.ask_for_adapters(spec, lora, self._load_timeout_s))

    async def _allowed(self, spec: ServerSpec, asked: Awaitable[object]) -> bool:
        """Whether what was asked is allowed, however it ends otherwise. Raises TargetUnreachableError."""
        try:
            await asked
        except TimeoutError:
            raise TargetUnreachableError(spec.name, "no answer in time") from None
        except ActionError as error:
            if error.failure is FailureClass.BACKEND:
                raise TargetUnreachableError(spec.name, str(error)) from None
            return error.failure is not FailureClass.CONTROL_NOT_ALLOWED
        return True

    def _spec(self, server: str) -> ServerSpec:
        if server not in self._specs:
            raise NotFoundError("vLLM server", server, tuple(sorted(self._specs)))
        return self._specs[server]
