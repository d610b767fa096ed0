"""Targets that misbehave among many that do not."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from controlplane.collect import http
from controlplane.collect.fleet import FleetCollector
from controlplane.collect.http import REFUSED, Pages
from controlplane.collect.names import Names
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing, known
from tests.integration.test_collect_misbehaving import BAD, PAGE, answer, hang, says, serving

TIMEOUT_S = 2.5
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


async def test_many_that_begin_to_hang_in_the_same_round_hold_the_others_up_for_part_of_a_timeout_each() -> None:
    async with AsyncExitStack() as stack:
        hanging = await stack.enter_async_context(serving(hang))
        url = await stack.enter_async_context(serving(says(answer(PAGE))))
        collect = collector({f"hanging-{n}": hanging for n in range(200)} | {"good": url})
        begun = time.monotonic()
        await collect.collect(0)
        took_s = time.monotonic() - begun
        good = collect.reading(wall_clock()).servers["good"].live
        await collect.close()
    assert known(good) is True
    assert took_s < 2.5 * TIMEOUT_S  # in turns of 64 until the deadline of each it would be 4


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


async def test_names_that_no_name_server_tells_hold_no_other_name_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setattr(http, "Names", partial(Names, nameservers=[f"127.0.0.1:{silent.getsockname()[1]}"]))
        async with serving(says(answer(PAGE))) as url:
            port = urlsplit(url).port
            # more than any pool of threads on which names are resolved by default
            urls = {f"lost-{n}": f"http://lost-{n}.invalid:{port}" for n in range(50)}
            collect = collector(urls | {"good": f"http://localhost:{port}"})
            await collect.collect(0)
            begun = time.monotonic()
            await collect.collect(0)
            took_s = time.monotonic() - begun
            servers = collect.reading(wall_clock()).servers
            await collect.close()
    assert took_s < 2 * TIMEOUT_S
    assert isinstance(servers["good"].models["llm"], Known)
    assert known(servers["lost-0"].live) is False


class _WithoutIpv6(socket.socket):
    def __init__(self, family: int = -1, *args: Any, **named: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *args, **named)


async def test_that_nobody_listens_on_localhost_is_known_without_ipv6_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setattr(socket, "socket", _WithoutIpv6)
        pages = Pages()
        with pytest.raises(TargetUnreachableError, match=REFUSED):
            await pages.get("local", f"http://localhost:{nobody.getsockname()[1]}", TIMEOUT_S)
        await pages.close()
