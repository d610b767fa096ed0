"""Targets that misbehave among many that do not."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from controlplane.collect.fleet import FleetCollector
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing
from tests.integration.test_collect_misbehaving import BAD, PAGE, answer, hang, says, serving

TIMEOUT_S = 1.5
GOOD = 40
wall_clock = time.time  # noqa: TID251 - real sockets live in real time


def collector(urls: dict[str, str]) -> FleetCollector:
    servers = tuple(ServerSpec(name, ServerKind.VLLM, url, f"{url}/metrics") for name, url in urls.items())
    fleet = Fleet(servers, (ModelSpec("llm", "tiny", tuple(urls), Mode.ACT),))
    return FleetCollector(fleet, timeout_s=TIMEOUT_S, max_age_s=15, clock=wall_clock, nvml=False)


async def test_every_way_to_misbehave_at_once_costs_one_timeout_and_no_data_of_the_others() -> None:
    async with AsyncExitStack() as stack:
        bad = {f"bad-{how}": await stack.enter_async_context(serving(handler)) for how, (handler, _) in BAD.items()}
        url = await stack.enter_async_context(serving(says(answer(PAGE))))
        collect = collector(bad | {f"good-{n}": f"{url}/{n}" for n in range(GOOD)})
        begun = time.monotonic()
        await collect.collect(0)
        took_s = time.monotonic() - begun
        servers = collect.reading(wall_clock()).servers
        await collect.close()
    assert took_s < 2 * TIMEOUT_S
    assert sum(isinstance(servers[f"good-{n}"].models["llm"], Known) for n in range(GOOD)) == GOOD
    assert all(isinstance(servers[name].models["llm"], Missing) for name in bad)


async def test_targets_that_go_on_hanging_hold_nobody_back_however_many_they_are() -> None:
    async with AsyncExitStack() as stack:
        hanging = await stack.enter_async_context(serving(hang))
        url = await stack.enter_async_context(serving(says(answer(PAGE))))
        urls = {f"hanging-{n}": hanging for n in range(100)} | {f"good-{n}": url for n in range(GOOD)}
        collect = collector(urls)
        await collect.collect(0)
        begun = wall_clock()
        round_ = asyncio.create_task(collect.collect(0))
        await asyncio.sleep(TIMEOUT_S * 0.8)
        servers = collect.reading(wall_clock()).servers
        await round_
        await collect.close()
    fresh = [isinstance(live := servers[f"good-{n}"].live, Known) and live.observed_at > begun for n in range(GOOD)]
    assert all(fresh)


async def test_a_round_lasts_one_timeout_however_many_targets_hang() -> None:
    async with AsyncExitStack() as stack:
        hanging = await stack.enter_async_context(serving(hang))
        url = await stack.enter_async_context(serving(says(answer(PAGE))))
        collect = collector({f"hanging-{n}": hanging for n in range(150)} | {"good": url})
        await collect.collect(0)
        took_s = []
        for _ in range(2):
            begun = time.monotonic()
            await collect.collect(0)
            took_s.append(time.monotonic() - begun)
        live = collect.reading(wall_clock()).servers["hanging-149"].live
        await collect.close()
    assert max(took_s) < 1.8 * TIMEOUT_S  # 150 are read 64 at a time, in 3 timeouts
    assert isinstance(live, Known)
    assert not live.value
