"""A server that restarts loads the versions that a rollout decided on by what it had itself, whoever leads by then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from controlplane.act import triton
from controlplane.act.triton import TritonActuator
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import ActionError, NotLeadingError, StoreBusyError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.instance_groups import total_instances

GPUS = {"t0": [0, 1, 2, 3], "t1": [0]}
SERVERS = tuple(ServerSpec(n, ServerKind.TRITON, "http://x", "http://x", grpc="x:1") for n in GPUS)
FLEET = Fleet(SERVERS, (ModelSpec("m", "served", runs_on=tuple(GPUS), mode=Mode.ACT),))


class FakeTriton:
    """A Triton with one model, whose repository has the versions 1 and 2; `sent` are the loads, None: a plain one."""

    def __init__(self, name: str) -> None:
        self.group: dict[str, Any] = {"kind": "KIND_GPU", "count": 1, "gpus": GPUS[name]}
        self.ready: tuple[str, ...] = ("1",)
        self.sent: list[Mapping[str, Any] | None] = []

    def restart(self) -> None:
        self.ready, self.sent = (), []

    def load(self, config: Mapping[str, Any] | None) -> None:
        self.sent.append(config)
        if config is not None and config["instance_group"][0]["gpus"] != self.group["gpus"]:
            raise ActionError("invalid or unsupported gpu id", FailureClass.INVALID_CONFIGURATION, "look")
        self.ready = ("2",) if config is None else tuple(config["version_policy"]["specific"]["versions"])


class FakeControl:
    """What the actuator uses of TritonControl."""

    tritons: Mapping[str, FakeTriton]

    def __init__(self, spec: ServerSpec, *, call_timeout_s: float) -> None:  # noqa: ARG002 - the class's signature
        self._triton = self.tritons[spec.name]

    async def states(self, model: str) -> frozenset[str]:  # noqa: ARG002
        return frozenset({"READY" if self._triton.ready else ""})

    async def ready_versions(self, model: str) -> tuple[str, ...]:  # noqa: ARG002
        return self._triton.ready

    async def config(self, model: str) -> dict[str, Any]:
        return {"name": model, "backend": "onnxruntime", "instance_group": [self._triton.group]}

    async def load(self, model: str, timeout_s: float, config: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        self._triton.load(config)

    async def close(self) -> None: ...


class Store:
    """What both control planes see; fails with `error` where there is one."""

    def __init__(self) -> None:
        self.configs: dict[tuple[str, str], dict[str, Any]] = {}
        self.error: Exception | None = None

    def _told(self) -> None:
        if self.error is not None:
            raise self.error

    async def keep(self, model: str, server: str, config: Mapping[str, Any]) -> None:
        self._told()
        self.configs[model, server] = dict(config)

    async def kept(self, model: str, server: str) -> dict[str, Any] | None:
        self._told()
        return self.configs.get((model, server))

    async def kept_elsewhere(self, model: str) -> dict[str, Any] | None:
        self._told()
        return next((config for (name, _), config in sorted(self.configs.items()) if name == model), None)

    async def drop(self, model: str, server: str) -> None:
        self._told()
        self.configs.pop((model, server), None)


@pytest.fixture
def tritons(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeTriton]:
    made = {name: FakeTriton(name) for name in GPUS}
    monkeypatch.setattr(FakeControl, "tritons", made, raising=False)
    monkeypatch.setattr(triton, "TritonControl", FakeControl)
    return made


async def do(store: Store, step: Step, server: str, *versions: str) -> Outcome:
    """By a control plane that has just started."""
    actuator = TritonActuator(FLEET, clock=lambda: 1000.0, kept=store)
    count = len(FakeControl.tritons[server].group["gpus"])
    outcome = await actuator.apply(
        Action("d", "m", server, step, Target(loaded=True, instances=count, versions=versions), 999.0)
    )
    await actuator.close()
    return outcome


def policies(server: FakeTriton) -> list[Any]:
    return [config and config["version_policy"]["specific"]["versions"] for config in server.sent]


async def test_each_server_loads_by_its_own_configuration_after_a_restart_of_all(
    tritons: dict[str, FakeTriton],
) -> None:
    store = Store()
    for server in GPUS:
        assert (await do(store, Step.SET_VERSIONS, server, "1", "2")).status is ActionStatus.SUCCEEDED
        assert (await do(store, Step.SET_VERSIONS, server, "1")).status is ActionStatus.SUCCEEDED
    for server, here in tritons.items():
        here.restart()
        outcome = await do(store, Step.LOAD, server, "1")
        assert (outcome.status, here.ready, policies(here)) == (ActionStatus.SUCCEEDED, ("1",), [["1"]]), outcome


async def test_no_more_instances_are_loaded_than_there_are_to_be(tritons: dict[str, FakeTriton]) -> None:
    store, here = Store(), tritons["t1"]
    await do(store, Step.SET_VERSIONS, "t1", "1")
    store.configs["m", "t1"]["instance_group"] = [{**here.group, "count": 8}]
    here.restart()
    await do(store, Step.LOAD, "t1", "1")
    assert [total_instances(config or {}) for config in here.sent] == [1]


async def test_what_is_not_in_a_rollout_is_loaded_by_the_repositorys_policy(tritons: dict[str, FakeTriton]) -> None:
    store = Store()
    await do(store, Step.SET_VERSIONS, "t0", "1")
    tritons["t0"].restart()
    await do(store, Step.LOAD, "t0")
    assert tritons["t0"].sent == [None]


async def test_a_configuration_that_a_server_takes_no_more_is_forgotten(tritons: dict[str, FakeTriton]) -> None:
    store, here = Store(), tritons["t0"]
    await do(store, Step.SET_VERSIONS, "t0", "1")
    here.restart()
    here.group = {**here.group, "gpus": [0, 1]}
    refused = await do(store, Step.LOAD, "t0", "1")
    assert (refused.status, refused.failure) == (ActionStatus.FAILED, FailureClass.INVALID_CONFIGURATION)
    again = await do(store, Step.LOAD, "t0", "1")
    assert (again.status, here.sent[-1], here.ready) == (ActionStatus.SUCCEEDED, None, ("2",))
    await do(store, Step.SET_VERSIONS, "t0", "1")
    assert here.ready == ("1",), "and the next one goes by what is there now"


async def test_a_server_of_which_none_is_kept_loads_by_that_of_another(tritons: dict[str, FakeTriton]) -> None:
    store = Store()
    await do(store, Step.SET_VERSIONS, "t0", "1")
    tritons["t1"].restart()
    tritons["t1"].group = tritons["t0"].group
    outcome = await do(store, Step.LOAD, "t1", "1")
    assert (outcome.status, policies(tritons["t1"])) == (ActionStatus.SUCCEEDED, [["1"]]), outcome


async def test_what_another_has_is_not_tried_again_on_a_server_that_refused_it(tritons: dict[str, FakeTriton]) -> None:
    store = Store()
    await do(store, Step.SET_VERSIONS, "t0", "1")
    tritons["t1"].restart()
    actuator = TritonActuator(FLEET, clock=lambda: 1000.0, kept=store)
    action = Action("d", "m", "t1", Step.LOAD, Target(loaded=True, instances=1, versions=("1",)), 999.0)
    outcomes = [await actuator.apply(action) for _ in range(2)]
    await actuator.close()
    assert [o.failure for o in outcomes] == [FailureClass.INVALID_CONFIGURATION, None]
    assert tritons["t1"].sent[1:] == [None], "by the repository's policy"
    assert await store.kept("m", "t0") is not None


@pytest.mark.parametrize("step", [Step.SET_VERSIONS, Step.LOAD])
@pytest.mark.parametrize("error", [StoreBusyError("locked"), NotLeadingError("b leads now")])
async def test_nothing_is_done_that_cannot_be_remembered(
    tritons: dict[str, FakeTriton], step: Step, error: Exception
) -> None:
    store = Store()
    store.error = error
    outcome = await do(store, step, "t0", "1", "2")
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, FailureClass.SUPERSEDED)
    assert str(error) in outcome.detail
    assert tritons["t0"].sent == []
