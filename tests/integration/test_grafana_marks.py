"""The whole control plane marks a Grafana as things happen, also through a restart and an outage of Grafana."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controlplane.config import parse_settings
from controlplane.domain.instructions import FreezeDirection
from controlplane.loop.wire import ControlPlane, build
from tests.grafana_server import TOKEN, GrafanaServer, grafana_served

CONFIGURATION = """
store: sqlite:///{folder}/history.db
scrape: {{interval: 500ms, timeout: 200ms}}
decide: {{interval: 1s}}
servers: [{{name: v, kind: vllm, http: "http://127.0.0.1:9"}}]
models: [{{name: llama, runs_on: [v]}}]
grafana: {{url: "{url}", token_file: "{folder}/token", prometheus_url: "http://prometheus:9090"}}
"""


@asynccontextmanager
async def running(folder: Path, url: str) -> AsyncIterator[ControlPlane]:
    plane = build(parse_settings(CONFIGURATION.format(folder=folder, url=url), {}))
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


async def until(so: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.05)


def texts(grafana: GrafanaServer) -> list[str]:
    return [annotation["text"] for annotation in grafana.annotations]


async def freeze(plane: ControlPlane, reason: str) -> None:
    await plane.desk.freeze("llama", FreezeDirection.ALL, actor="ann", reason=reason, ttl_s=600.0)


async def test_what_people_say_is_marked_once_also_over_a_restart_and_while_grafana_was_away(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    begun = "Freeze (all) of llama by ann: {}"
    with grafana_served() as grafana:
        async with running(tmp_path, grafana.url) as plane:
            grafana.answers_with = (503, "text/html", "<html>")
            await freeze(plane, "one")
            await until(lambda: plane.annotator is not None and plane.annotator.failing)
            ticks = plane.picture().health.ticks
            await until(lambda: plane.picture().health.ticks > ticks)
            grafana.answers_with = None
            await until(lambda: texts(grafana) == [begun.format("one")])
        async with running(tmp_path, grafana.url) as plane:
            await until(lambda: plane.picture().freezes and plane.picture().health.ticks)
            await plane.desk.unfreeze("llama", actor="ann")
            await until(lambda: len(grafana.annotations) == 2)
        assert texts(grafana) == [begun.format("one"), "Freeze (all) of llama ended early"]
        assert grafana.annotations[0]["tags"] == ["controlplane", "freeze", "model:llama"]
