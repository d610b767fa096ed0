from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from controlplane.collect.unhurried import Unhurried


class Gate:
    """A job that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.let_go = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.let_go.wait()
        self.ended += 1


async def at_once() -> None:
    pass


async def test_a_job_that_hangs_holds_nobody_up_and_is_not_begun_anew() -> None:
    jobs, hanging = Unhurried(), Gate()
    for _ in range(3):
        async with asyncio.timeout(5):
            await jobs.run({"hanging": hanging, "quick": at_once}, 0.01)
    assert (hanging.begun, hanging.ended) == (1, 0)
    hanging.let_go.set()
    await jobs.run({"hanging": hanging}, 5)
    assert (hanging.begun, hanging.ended) == (1, 1)
    await jobs.run({"hanging": hanging}, 5)
    assert (hanging.begun, hanging.ended) == (2, 2)


async def test_a_fault_in_one_job_is_told_and_ends_no_other() -> None:
    async def fault() -> None:
        raise RuntimeError("boom")

    jobs, other = Unhurried(), Gate()
    other.let_go.set()
    with capture_logs() as logs:
        await jobs.run({"faulty": fault, "other": other}, 5)
    assert other.ended == 1
    assert [entry["job"] for entry in logs] == ["faulty"]


async def test_closing_ends_what_is_under_way() -> None:
    jobs, hanging = Unhurried(), Gate()
    await jobs.run({"hanging": hanging}, 0.01)
    await jobs.close()
    hanging.let_go.set()
    await asyncio.sleep(0)
    assert (hanging.begun, hanging.ended) == (1, 0)
