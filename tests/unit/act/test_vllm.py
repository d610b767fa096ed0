"""What the vLLM actuator makes of a server that lacks something, refuses, or does not answer in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from controlplane.act.vllm import VllmActuator
from controlplane.collect.token_file import read_token
from controlplane.domain.control import LORA_REMEDY, SLEEP_REMEDY, lacking
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.lora import Lora
from controlplane.domain.observation import ControlMode
from tests.vllm_server import VllmServer

NOW = 1234.5
CHAT = ModelSpec("chat", "tiny", ("v",), Mode.ACT)


@pytest.fixture
async def vllm() -> AsyncIterator[VllmServer]:
    async with VllmServer("/a", "/b") as server:
        yield server


def actuator(
    vllm: VllmServer,
    lora: Lora | None = None,
    *,
    timeout_s: float = 5,
    name: str = "sql",
    may_act: Callable[[], bool] = lambda: True,
) -> VllmActuator:
    adapters = () if lora is None else (ModelSpec("sql", name, ("v",), Mode.ACT, lora=lora),)
    fleet = Fleet((ServerSpec("v", ServerKind.VLLM, vllm.url, ""),), (CHAT, *adapters))
    return VllmActuator(
        fleet,
        read_token,
        clock=lambda: NOW,
        load_timeout_s=timeout_s,
        unload_timeout_s=timeout_s,
        call_timeout_s=timeout_s,
        may_act=may_act,
    )


async def carry_out(to: VllmActuator, step: Step, model: str = "sql") -> Outcome:
    try:
        return await to.apply(Action("d", model, "v", step, Target(loaded=True, instances=1), NOW))
    finally:
        await to.close()


@pytest.mark.parametrize(
    ("dev_mode", "lora_updating", "lora", "adapters", "mode"),
    [
        (True, True, True, True, ControlMode.EXPLICIT),
        (True, True, False, True, ControlMode.SLEEP_ONLY),
        (True, False, False, True, ControlMode.SLEEP_ONLY),
        (True, True, True, False, ControlMode.SLEEP_ONLY),
        (False, True, True, True, ControlMode.ADAPTERS_ONLY),
        (False, True, False, True, ControlMode.NOT_ALLOWED),
        (False, False, True, False, ControlMode.NOT_ALLOWED),
    ],
)
async def test_what_a_server_allows_is_found_out_as_far_as_it_is_wanted(
    vllm: VllmServer, *, dev_mode: bool, lora_updating: bool, lora: bool, adapters: bool, mode: ControlMode
) -> None:
    vllm.dev_mode, vllm.lora_updating, vllm.lora = dev_mode, lora_updating, lora
    to = actuator(vllm, Lora("/a", "chat") if adapters else None)
    assert await to.control_mode("v") is mode
    await to.close()
    assert (vllm.awake.is_set(), vllm.adapters) == (True, {})
    assert len(vllm.told) == 1 + adapters, "no adapter is asked for where none is configured"


@pytest.mark.parametrize(
    ("mode", "of_base", "of_adapter"),
    [
        (ControlMode.EXPLICIT, "", ""),
        (ControlMode.SLEEP_ONLY, "", LORA_REMEDY),
        (ControlMode.ADAPTERS_ONLY, SLEEP_REMEDY, ""),
        (ControlMode.NOT_ALLOWED, SLEEP_REMEDY, LORA_REMEDY),
        (None, "", ""),
    ],
)
def test_what_is_lacking_is_told_with_how_to_start_it(mode: ControlMode | None, of_base: str, of_adapter: str) -> None:
    assert lacking(ServerKind.VLLM, mode, adapter=False) == of_base
    assert lacking(ServerKind.VLLM, mode, adapter=True) == of_adapter


@pytest.mark.parametrize(
    ("keys", "step", "model", "failure", "remedy"),
    [
        ({"dev_mode": False}, Step.UNLOAD, "chat", FailureClass.CONTROL_NOT_ALLOWED, "VLLM_SERVER_DEV_MODE=1"),
        ({"dev_mode": False}, Step.LOAD, "chat", FailureClass.CONTROL_NOT_ALLOWED, "VLLM_SERVER_DEV_MODE=1"),
        ({"stays_asleep": True}, Step.LOAD, "chat", FailureClass.BACKEND, "/resume"),
        ({"lora_updating": False}, Step.LOAD, "sql", FailureClass.CONTROL_NOT_ALLOWED, "RUNTIME_LORA_UPDATING=1"),
        ({"lora": False}, Step.LOAD, "sql", FailureClass.CONTROL_NOT_ALLOWED, "--enable-lora"),
        ({"disk": set()}, Step.LOAD, "sql", FailureClass.MODEL_NOT_FOUND, "lora.path"),
        ({"key": "k"}, Step.LOAD, "sql", FailureClass.INVALID_CONFIGURATION, "lora.token_file"),
    ],
)
async def test_each_refusal_has_its_class_and_remedy_and_is_not_tried_again_at_once(
    vllm: VllmServer, keys: dict[str, object], step: Step, model: str, failure: FailureClass, remedy: str
) -> None:
    vllm.awake.clear()
    for key, value in keys.items():
        setattr(vllm, key, value)
    outcome = await carry_out(actuator(vllm, Lora("/a", "chat")), step, model)
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, failure), outcome.detail
    assert remedy in outcome.remedy
    assert not failure.transient


async def test_an_adapter_of_another_path_is_replaced_in_place_and_the_same_is_left(vllm: VllmServer) -> None:
    first = await carry_out(actuator(vllm, Lora("/a", "chat")), Step.LOAD)
    again = await carry_out(actuator(vllm, Lora("/a", "chat")), Step.LOAD)
    other = await carry_out(actuator(vllm, Lora("/b", "chat")), Step.LOAD)
    anew = await carry_out(actuator(vllm, Lora("/b", "chat")), Step.RELOAD)
    assert [o.in_place for o in (first, again, other, anew)] == [False, None, True, True]
    assert vllm.told == ["load sql /a", "load sql /b in place", "load sql /b in place"]


async def test_the_key_in_the_file_opens_the_list_and_the_load(vllm: VllmServer, tmp_path: Path) -> None:
    vllm.key = "k"
    (tmp_path / "key").write_text("k\n", encoding="utf-8")
    lora = Lora("/a", "chat", str(tmp_path / "key"))
    assert (await carry_out(actuator(vllm, lora), Step.LOAD)).status is ActionStatus.SUCCEEDED
    (tmp_path / "key").unlink()
    lost = await carry_out(actuator(vllm, lora), Step.UNLOAD)
    assert (lost.failure, lost.remedy) == (FailureClass.INVALID_CONFIGURATION, "correct lora.token_file")


async def test_what_takes_too_long_fails_in_time_and_leaves_the_question_open(vllm: VllmServer) -> None:
    vllm.delay_s = 0.5
    short = actuator(vllm, Lora("/a", "chat"), timeout_s=0.05)
    for step, model, word in ((Step.UNLOAD, "chat", "asleep"), (Step.LOAD, "chat", "awake"), (Step.LOAD, "sql", "sql")):
        outcome = await carry_out(short, step, model)
        assert (outcome.failure, word in outcome.detail) == (FailureClass.TIMEOUT, True), outcome.detail
    with pytest.raises(TargetUnreachableError, match="no answer in time"):
        await short.control_mode("v")
    await short.close()


async def test_a_server_that_is_not_there_yet_is_asked_again(vllm: VllmServer) -> None:
    vllm.refuse_control = 503
    to = actuator(vllm)
    with pytest.raises(TargetUnreachableError, match="HTTP 503"):
        await to.control_mode("v")
    assert (await carry_out(to, Step.LOAD, "chat")).failure is FailureClass.UNREACHABLE
    vllm.refuse_control = 500
    with pytest.raises(TargetUnreachableError, match="Internal Server Error"):
        await to.control_mode("v")
    await to.close()


async def test_without_the_lead_nothing_is_written_and_what_may_be_done_is_still_found_out(vllm: VllmServer) -> None:
    to = actuator(vllm, Lora("/a", "chat"), may_act=lambda: False)
    found = await to.control_mode("v")
    for step, model, left in (
        (Step.UNLOAD, "chat", "POST /sleep?level=1&mode=wait on v"),
        (Step.LOAD, "chat", "POST /wake_up on v"),
        (Step.LOAD, "sql", "POST /v1/load_lora_adapter of sql on v"),
    ):
        outcome = await to.apply(Action("d", model, "v", step, Target(loaded=True, instances=1), NOW))
        assert (outcome.failure, outcome.detail) == (
            FailureClass.SUPERSEDED,
            f"left undone: {left}; another control plane may lead by now",
        )
    await to.close()
    assert found is ControlMode.EXPLICIT
    assert not [told for told in vllm.told if "sleep?" in told or "wake" in told]
    assert not vllm.adapters
