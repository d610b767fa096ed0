"""A version that does not answer, on a server that goes away at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from controlplane.act.triton_control import TritonControl
from controlplane.act.triton_versions import set_versions
from controlplane.domain.decision import Target
from controlplane.domain.errors import ActionError, NotLeadingError, TargetUnreachableError
from controlplane.domain.failures import FailureClass

BESIDE = Target(loaded=True, instances=1, versions=("1", "2"))
CONFIG = {"instance_group": [{"kind": "KIND_CPU", "count": 1}]}


class OnlyOnce:
    """A Triton that takes one configuration and then raises `error` for every further one."""

    def __init__(self, error: Exception) -> None:
        self.ready: tuple[str, ...] = ("1",)
        self.error = error

    async def ready_versions(self, model: str) -> tuple[str, ...]:  # noqa: ARG002
        return self.ready

    async def send(self, config: Mapping[str, Any]) -> None:
        if self.ready != ("1",):
            raise self.error
        self.ready = tuple(config["version_policy"]["specific"]["versions"])


async def set_beside(server: OnlyOnce) -> None:
    async def answers(version: str) -> str:
        return "Internal: wrong shape" if version == "2" else ""

    await set_versions(cast("TritonControl", server), "m", ("1",), CONFIG, BESIDE, server.send, answers)


@pytest.mark.parametrize(
    "error", [TargetUnreachableError("t", "it is gone"), ActionError("no", FailureClass.OUT_OF_MEMORY, "look")]
)
async def test_that_it_does_not_answer_is_told_also_where_the_way_back_is_not_taken(error: Exception) -> None:
    with pytest.raises(ActionError, match="version 2 of m does not answer a probe"):
        await set_beside(OnlyOnce(error))


async def test_who_may_lead_no_more_tells_that() -> None:
    with pytest.raises(NotLeadingError):
        await set_beside(OnlyOnce(NotLeadingError("left undone")))
