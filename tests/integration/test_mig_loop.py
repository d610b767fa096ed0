"""The loop in mode act of MIG: demand that one slice cannot hold, a real agent, and copies that are real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from controlplane.config.load import parse_settings
from controlplane.domain.fleet import Member, Phase, ServerKind, ServerSpec
from controlplane.domain.instructions import FreezeDirection
from controlplane.domain.layouts import ChangeState
from controlplane.domain.mig import Slice
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known
from controlplane.loop.wire import ControlPlane, build
from tests.nvml_shim.drive import build as build_shim
from tests.nvml_shim.node import SMALL, Node, cutting_agent

ROOT = Path(__file__).parents[2]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    command = tmp_path / "copies"
    command.write_text(
        f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tests.nvml_shim.copies "{tmp_path}" "$@"\n'
    )
    command.chmod(0o755)
    (tmp_path / "shim").mkdir()
    with cutting_agent(build_shim(tmp_path / "shim"), tmp_path, "--copies", str(command)) as started:
        yield started
    for told in tmp_path.glob("*.json"):
        with suppress(ProcessLookupError, ValueError, KeyError):
            os.kill(json.loads(told.read_text())["pid"], signal.SIGKILL)


@dataclass
class Found:
    """Implements the port Discovery: the copies that are told of in a folder."""

    folder: Path
    changed: Callable[[], None] = lambda: None
    seen: dict[str, str] = field(default_factory=dict)

    async def start(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self._task = asyncio.create_task(self._look())

    def members(self, now: float) -> dict[str, Known[tuple[Member, ...]]]:
        found = []
        for uuid, url in sorted(self.seen.items()):
            server = ServerSpec(f"small/{uuid}", ServerKind.VLLM, url, f"{url}/metrics")
            found.append(Member(server, "small", Phase.READY, now, now, uuid))
        return {"small": Known(tuple(found), now)}

    def scaling(self) -> dict[str, ScaleStatus]:
        return {}

    async def close(self) -> None:
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            told = {path.stem: json.loads(path.read_text())["url"] for path in self.folder.glob("MIG-*.json")}
            if told != self.seen:
                self.seen = told
                self.changed()
            await asyncio.sleep(0.05)


async def load(found: Found, per_s: float) -> None:
    """So many requests a second, to each copy in turn."""
    async with aiohttp.ClientSession() as session:
        at = 0
        while True:
            urls = sorted(found.seen.values())
            if urls:
                at += 1
                body = {"model": "small-8b", "prompt": "a b", "max_tokens": 1}
                with suppress(aiohttp.ClientError):
                    async with session.post(f"{urls[at % len(urls)]}/v1/completions", json=body) as answer:
                        await answer.read()
            await asyncio.sleep(1 / per_s)


def settings(node: Node, folder: Path) -> str:
    return f"""
mode: observe
store: sqlite:///{folder}/history.db
scrape: {{interval: 500ms, timeout: 400ms}}
decide: {{interval: 1s}}
agents: [{{name: node-a, url: "{node.running.url}"}}]
workloads: [{{name: small, kind: vllm, kubernetes: {{namespace: ml, pods: app=small}}}}]
models: [{{name: small-8b, runs_on: [small]}}]
mig:
  mode: act
  every: 2s
  dwell: 1h
  token_file: {node.token_file}
  start_timeout: 20s
  models: [{{name: small-8b, memory_gib: 6, profiles: {{1g.10gb: 12}}}}]
"""


async def until(plane: ControlPlane, wanted: Callable[[], object]) -> None:
    ends = time.monotonic() + 120
    while not wanted():
        assert time.monotonic() < ends, plane.picture().mig
        with suppress(TimeoutError):
            await plane.runner.changed(1.0)


async def test_slices_are_cut_and_copies_started_until_the_demand_is_held_and_a_freeze_holds_all_of_it(
    node: Node, tmp_path: Path
) -> None:
    node.cut(SMALL)
    uuid = node.machine.slices()[Slice("1g.10gb", 0)]
    body = {"gpu": "GPU-0", **SMALL, "model": "small-8b", "act": "start"}
    assert node.ask(body, path="/mig/copies").status == 200
    found = Found(tmp_path)
    plane = build(parse_settings(settings(node, tmp_path), {}), discoveries=[found])
    await plane.start()
    requests = asyncio.create_task(load(found, 30.0))
    try:
        await plane.desk.freeze("", FreezeDirection.ALL, actor="ann", reason="drill", ttl_s=3600.0)
        await until(plane, lambda: plane.picture().mig.held)
        assert plane.picture().mig.held == "everything is frozen by ann: drill"
        assert list(node.machine.slices().values()) == [uuid]
        await plane.desk.unfreeze("", actor="ann")
        await until(plane, lambda: plane.picture().mig.changes.get(ChangeState.DONE))
        slices = node.machine.slices()
        assert len(slices) >= 2
        assert uuid in slices.values(), "what was there is not touched"
        assert set(found.seen) == set(slices.values()), "a copy on each"
        await until(plane, lambda: all((m.short_now_per_s or 0.0) < 1e-6 for m in plane.picture().mig.models))
        assert plane.picture().mig.changes == {ChangeState.DONE: 1}, "and then there is nothing to do"
        told = {entry.verb: entry.detail for entry in await plane.desk.audit_log(10)}
        assert "small-8b is short of" in told["mig change begun"]
        assert told["mig change ended"].startswith("done, ")
        await plane.desk.freeze("", FreezeDirection.ALL, actor="ann", reason="restart", ttl_s=3600.0)
    finally:
        requests.cancel()
        await asyncio.gather(requests, return_exceptions=True)
        await plane.stop()
    change = plane.picture().mig.change
    again = build(parse_settings(settings(node, tmp_path), {}), discoveries=[Found(tmp_path)])
    await again.start()
    try:
        await until(again, lambda: again.picture().mig.change)
        assert again.picture().mig.change == change, "the next process tells it"
    finally:
        await again.stop()
