"""A scale-down on Kubernetes under load: pods are processes that are killed when they go, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from controlplane.config.load import parse_settings
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.fleet import Phase
from controlplane.domain.instructions import OverrideKind
from controlplane.loop.wire import ControlPlane, build
from tests.kube.cluster import Cluster, is_ready
from tests.kube.fixtures import controllers

TOKEN_S, TOKENS, CLIENTS = 0.02, 30, 6


class Pods:
    """What runs in the pods: a process for each, on an address of its own of the loopback."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> str:
        host = f"127.0.0.{len(self._running) + 2}"
        command = (sys.executable, "-m", "tests.completion_server", host, str(self.port), str(TOKEN_S))
        self._running[name] = subprocess.Popen(command)
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, self.port)):
                return host
            assert self._running[name].poll() is None
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """Nothing is ended first: what it had is cut off."""
        self._running[name].kill()
        self._running[name].wait()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def pods() -> Iterator[Pods]:
    running = Pods()
    yield running
    running.close()


class Service:
    """Sends each request to the next of the pods that a Service would select, and learns of a change a little late."""

    def __init__(self, cluster: Cluster, port: int, session: aiohttp.ClientSession) -> None:
        self._cluster, self._port, self._session = cluster, port, session
        self.behind: list[str] = []
        self.answers: list[int | str] = []
        self._turns = itertools.count()

    def _look(self) -> list[str]:
        chosen = {"label_selector": "app=llama,controlplane/traffic=on"}
        found = self._cluster.core.list_namespaced_pod(self._cluster.namespace, **chosen).items
        return [pod.status.pod_ip for pod in found if is_ready(pod) and not pod.metadata.deletion_timestamp]

    async def follow(self) -> None:
        """What a kube-proxy does, for ever."""
        while True:
            seen = await asyncio.to_thread(self._look)
            await asyncio.sleep(0.1)
            self.behind = seen

    async def client(self) -> None:
        """Asks again and again; what came of it is among the answers."""
        while True:
            host = self.behind[next(self._turns) % len(self.behind)]
            try:
                self.answers.append(await self.ask(host, TOKENS))
            except aiohttp.ClientError as error:
                self.answers.append(f"{host}: {error!r}")

    async def ask(self, host: str, tokens: int) -> int:
        body = {"model": "tiny", "prompt": "a", "max_tokens": tokens}
        async with self._session.post(f"http://{host}:{self._port}/v1/completions", json=body) as answer:
            await answer.read()
            return answer.status


@contextlib.asynccontextmanager
async def under_load(cluster: Cluster, port: int) -> AsyncIterator[Service]:
    async with aiohttp.ClientSession() as session:
        service = Service(cluster, port, session)
        tasks = [asyncio.create_task(service.follow())]
        await until(lambda: len(service.behind) == 2)
        tasks += [asyncio.create_task(service.client()) for _ in range(CLIENTS)]
        yield service
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not is_so():  # noqa: ASYNC110 - much of it happens in other processes
            await asyncio.sleep(0.05)


def settings_of(cluster: Cluster, port: int, tmp_path: Path) -> str:
    drain = "{label: controlplane/traffic=on, timeout: 10m, settle: 500ms}"
    named = f"namespace: {cluster.namespace}, kind: Deployment, name: llama, kubeconfig: {cluster.kubeconfig}"
    return f"""
mode: act
store: sqlite:///{tmp_path}/history.db
scrape: {{interval: 250ms, timeout: 200ms}}
decide: {{interval: 500ms}}
workloads:
  - name: w
    kind: vllm
    kubernetes: {{{named}, drain: {drain}}}
    replicas: {{min: 1, max: 2}}
    ports: {{http: {port}}}
models:
  - {{name: tiny, runs_on: [w]}}
"""


def phases(plane: ControlPlane) -> list[Phase]:
    return sorted(member.phase for member in plane.picture().fleet.members.values())


async def test_nothing_fails_and_nothing_is_cut_off_even_where_another_control_plane_goes_on(
    cluster: Cluster, pods: Pods, tmp_path: Path
) -> None:
    cluster.scaled(replicas=2, more={"controlplane/traffic": "on"})
    text = settings_of(cluster, pods.port, tmp_path)
    with controllers(cluster, starts=pods.start, stops=pods.kill):
        async with under_load(cluster, pods.port) as service:
            held = [asyncio.create_task(service.ask(host, tokens=10**6)) for host in service.behind]
            plane = build(parse_settings(text, {}))
            await plane.start()
            await until(lambda: phases(plane) == [Phase.READY, Phase.READY])
            by = {"actor": "ann", "reason": "a test", "ttl_s": 600.0, "replicas": 1}
            await plane.desk.put_replicas("w", OverrideKind.REPLICAS, **by)  # type: ignore[arg-type]
            await until(lambda: phases(plane) == [Phase.DRAINING, Phase.READY])
            await plane.stop()
            plane = build(parse_settings(text, {}))
            await plane.start()
            await until(lambda: plane.picture().health.ticks > 2)
            assert (phases(plane), cluster.replicas()) == ([Phase.DRAINING, Phase.READY], 2), "it still holds a request"
            for one in held:
                one.cancel()
            await until(lambda: phases(plane) == [Phase.READY])
            answered = len(service.answers)
            await until(lambda: len(service.answers) >= answered + CLIENTS)
        told = await plane.store.call(lambda s: s.decisions(changes_only=True))
        await plane.stop()
    assert set(service.answers) == {200}
    assert len(service.answers) > 2 * CLIENTS
    steps = [record.decision for record in reversed(told) if record.decision.step is not Step.HOLD]
    assert [one.step for one in steps] == [Step.TRAFFIC, Step.SCALE]
    (drained,) = [reason for reason in steps[1].reasons if reason.code is ReasonCode.DRAINED]
    assert "cut" not in drained.numbers
