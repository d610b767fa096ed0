"""The climb ends where more requests in flight give no more, or make all of them late."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.domain.errors import ProfileError
from controlplane.profiling.clients import Clients
from controlplane.profiling.climb import Step, climb, concurrencies

Curve = dict[int, tuple[float, float]]


async def climbed(curve: Curve, most: int = 64, refused_at: int = 0) -> tuple[list[int], str]:
    told: list[int] = []

    async def measure(concurrency: int) -> Step[int]:
        if concurrency == refused_at:
            return Step(concurrency, 0.0, 0.0, refused="queue is full")
        return Step(concurrency, *curve[concurrency])

    steps, ended = await climb(measure, most, lambda step: told.append(step.concurrency))
    assert told == [step.concurrency for step in steps]
    return told, ended


async def test_two_steps_without_more_throughput_are_the_top() -> None:
    curve = {1: (10.0, 0.1), 2: (20.0, 0.1), 4: (20.9, 0.2), 8: (30.0, 0.25), 16: (31.0, 0.5), 32: (31.2, 0.9)}
    assert await climbed(curve) == ([1, 2, 4, 8, 16, 32], "throughput grows no more")


async def test_latency_of_more_than_ten_times_the_first_is_the_top() -> None:
    curve = {1: (10.0, 0.1), 2: (20.0, 0.1), 4: (40.0, 1.01)}
    assert await climbed(curve) == ([1, 2, 4], "latency is more than 10 times that of one request")


async def test_it_goes_no_further_than_it_may() -> None:
    assert list(concurrencies(6)) == [1, 2, 4]
    curve = {n: (float(n), 0.1) for n in (1, 2, 4)}
    assert await climbed(curve, most=6) == ([1, 2, 4], "as many requests in flight as were allowed")


async def test_what_the_server_refuses_is_the_end_and_at_the_first_step_an_error() -> None:
    curve = {n: (float(n), 0.1) for n in (1, 2, 4)}
    told, ended = await climbed(curve, refused_at=4)
    assert told == [1, 2]
    assert ended == "at 4 requests in flight the server refused some: queue is full"
    with pytest.raises(ProfileError, match="queue is full"):
        await climbed(curve, refused_at=1)


async def test_clients_keep_as_many_requests_in_flight_and_each_gets_its_last_answer() -> None:
    now = most = ended = 0

    async def send() -> int:
        nonlocal now, most, ended
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        ended += 1
        return ended

    async with Clients(send, 5) as clients:
        first = await clients.answered(0.0)
        again = await clients.answered(0.0)
    assert most == 5
    assert min(len(first), len(again)) >= 5
    assert min(again) > max(first)
    assert now == 0


async def test_what_a_client_raises_ends_the_waiting_for_answers() -> None:
    async def send() -> int:
        raise ProfileError("gone")

    with pytest.raises(ProfileError, match="gone"):
        async with Clients(send, 2) as clients:
            await clients.answered(3600.0)
