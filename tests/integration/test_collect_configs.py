"""Configurations of Triton's models are read when something says that they are others, else from time to time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from controlplane.collect.fleet import FleetCollector
from controlplane.collect.triton.server import CONFIG_EVERY_S
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing, Signal, Stale
from tests.integration.test_collect_misbehaving import answer, serving
from tests.unit.collect.pages import triton_page

SCRAPE_S = 5.0
MAX_AGE_S = 15.0


@dataclass
class Answers:
    """Of Tritons with one model each, all alike; `asked` counts configurations read, by server."""

    instances: int = 2
    reason: str = ""
    state: str = "READY"
    success: int = 100
    executions: int = 100
    broken: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        _, server, rest = head.split(" ", 2)[1].split("/", 2)
        writer.write(answer(self.body(server, rest).encode()))
        await writer.drain()

    def body(self, server: str, path: str) -> str:
        match path:
            case "metrics":
                return triton_page("m", success=self.success)
            case "v2/repository/index":
                return json.dumps([{"name": "m", "version": "1", "state": self.state, "reason": self.reason}])
            case "v2/models/stats":
                batch = {"batch_size": 1, "compute_infer": {"count": self.executions, "ns": 1}}
                return json.dumps({"model_stats": [{"name": "m", "version": "1", "batch_stats": [batch]}]})
        self.asked[server] += 1
        if self.broken:
            return "{"
        return json.dumps({"max_batch_size": 8, "instance_group": [{"kind": "KIND_CPU", "count": self.instances}]})


class Watched:
    """A collector in virtual time."""

    def __init__(self, url: str, servers: int) -> None:
        self.now = 1000.0
        names = tuple(f"t{n}" for n in range(servers))
        specs = tuple(ServerSpec(name, ServerKind.TRITON, f"{url}/{name}", f"{url}/{name}/metrics") for name in names)
        fleet = Fleet(specs, (ModelSpec("m", "m", names, Mode.ACT),))
        self.collector = FleetCollector(fleet, timeout_s=2.0, max_age_s=MAX_AGE_S, clock=lambda: self.now, nvml=False)

    async def round(self, *only: str) -> None:
        self.now += SCRAPE_S
        await self.collector.collect(self.now, only or None)

    def instances(self, server: str = "t0") -> Signal[int]:
        model = self.collector.reading(self.now).servers[server].models["m"]
        assert isinstance(model, Known)
        return model.value.instances


@asynccontextmanager
async def watching(answers: Answers, servers: int = 1) -> AsyncIterator[Watched]:
    async with serving(answers.handle) as url:
        watched = Watched(url, servers)
        await watched.round()
        yield watched
        await watched.collector.close()


async def test_one_that_nothing_changes_is_read_rarely_and_is_known_all_the_time() -> None:
    answers = Answers()
    async with watching(answers) as watched:
        for _ in range(24):
            await watched.round()
            instances = watched.instances()
            assert isinstance(instances, Known)
            assert instances.value == 2
            assert watched.now - instances.observed_at <= CONFIG_EVERY_S
    assert answers.asked["t0"] in (5, 6)  # once at first, then in 120 s


async def test_servers_take_turns() -> None:
    answers = Answers()
    async with watching(answers, servers=24) as watched:
        a_round = []
        for _ in range(12):
            before = answers.asked.total()
            await watched.round()
            a_round.append(answers.asked.total() - before)
    assert sum(a_round) == 2 * 24
    assert max(a_round) <= 12


async def test_instances_that_somebody_else_changed_are_noticed_within_that_time() -> None:
    answers = Answers()
    async with watching(answers) as watched:
        answers.instances = 3
        since = watched.now
        while watched.instances() != Known(3, watched.now):
            await watched.round()
        assert watched.now - since <= CONFIG_EVERY_S + SCRAPE_S


async def test_a_server_that_is_asked_for_by_name_tells_its_configurations_too() -> None:
    answers = Answers()
    async with watching(answers) as watched:
        answers.instances = 3
        await watched.round("t0")
        assert watched.instances() == Known(3, watched.now)


async def test_whatever_a_load_leaves_behind_has_the_configuration_read_in_the_same_round() -> None:
    traces: dict[str, dict[str, int | str]] = {
        "the index says something else": {"reason": "failed to load"},
        "the counters began anew": {"success": 1, "executions": 1},
        "the statistics began anew, the counters go on": {"success": 101, "executions": 1},
    }
    for why, changes in traces.items():
        answers = Answers()
        async with watching(answers) as watched:
            await watched.round()
            answers.instances = 3
            for name, value in changes.items():
                setattr(answers, name, value)
            await watched.round()
            assert watched.instances() == Known(3, watched.now), why


async def test_a_model_that_was_away_and_a_server_that_restarted_are_read_anew() -> None:
    answers = Answers()
    async with watching(answers) as watched:
        answers.state = "LOADING"
        await watched.round()
        assert watched.instances() == Missing("the model is loading")
        answers.state, answers.instances = "READY", 3
        await watched.round()
        assert watched.instances() == Known(3, watched.now)
        answers.state = ""  # as a Triton in explicit mode answers that was just started
        await watched.round()
        assert watched.instances() == Known(0, watched.now)
        answers.state, answers.instances = "READY", 4
        await watched.round()
        assert watched.instances() == Known(4, watched.now)


async def test_one_that_cannot_be_read_is_tried_in_every_round_and_goes_stale_in_the_end() -> None:
    answers = Answers()
    async with watching(answers) as watched:
        read_at, answers.broken = watched.now, True
        while isinstance(watched.instances(), Known):
            await watched.round()
        assert CONFIG_EVERY_S < watched.now - read_at <= CONFIG_EVERY_S + MAX_AGE_S + SCRAPE_S
        assert isinstance(watched.instances(), Stale)
        assert answers.asked["t0"] >= 1 + MAX_AGE_S / SCRAPE_S
        answers.broken = False
        await watched.round()
        assert watched.instances() == Known(2, watched.now)
