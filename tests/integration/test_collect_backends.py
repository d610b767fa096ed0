"""From a configuration to readings, over HTTP: a fleet with one server of every kind that is observed by one page."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from controlplane.collect.fleet import FleetCollector
from controlplane.config import parse_settings
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.signal import Known
from tests.unit.collect.pages import recorded

wall_clock = time.time  # noqa: TID251 - real sockets live in real time
PAGES = {
    "/tgi/metrics": "tgi-documented.txt",
    "/tf/monitoring/prometheus/metrics": "tfserving-documented.txt",
    "/sglang/metrics": "sglang-documented.txt",
    "/nim/v1/metrics": "nim-documented.txt",
    "/torchserve/own/metrics": "torchserve-0.12.0-after-27-requests.txt",
    "/ollama/api/ps": "ollama-ps-documented.json",
    "/mine/metrics": "vllm-0.32.0-under-load.txt",
}
MINE = """
sources: the recorded vLLM
model_label: model_name
gauges: {running: "vllm:num_requests_running"}
requests: {success: "vllm:request_success_total"}
"""
CONFIG = """
mappings: {{mine: {mine}}}
servers:
  - {{name: tgi, kind: tgi, http: "{url}/tgi"}}
  - {{name: tf, kind: tfserving, http: "{url}/tf"}}
  - {{name: sglang, kind: sglang, http: "{url}/sglang"}}
  - {{name: nim, kind: nim, http: "{url}/nim"}}
  - {{name: torchserve, kind: torchserve, http: "{url}/torchserve", metrics: "{url}/torchserve/own/metrics"}}
  - {{name: ollama, kind: ollama, http: "{url}/ollama"}}
  - {{name: mine, kind: mapped, mapping: mine, http: "{url}/mine"}}
models:
  - {{name: any, runs_on: tgi}}
  - {{name: half_plus_two, runs_on: tf}}
  - {{name: llama-sglang, served_name: meta-llama/Llama-3.1-8B-Instruct, runs_on: sglang}}
  - {{name: llama-nim, served_name: meta/llama-3.1-8b-instruct, runs_on: nim}}
  - {{name: echo, runs_on: torchserve}}
  - {{name: mistral, runs_on: ollama}}
  - {{name: tiny, runs_on: mine}}
"""


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The base URL of all servers, and their pages by path, to be changed by the test."""
    pages = {path: recorded(name) for path, name in PAGES.items()}

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", pages
    await runner.cleanup()


async def test_every_backend_is_read_as_configured(served: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    url, pages = served
    (tmp_path / "mine.yaml").write_text(MINE)
    settings = parse_settings(CONFIG.format(url=url, mine=tmp_path / "mine.yaml"), {})
    collector = FleetCollector(settings.fleet, timeout_s=5, max_age_s=60, clock=wall_clock, nvml=False)
    full = dict(pages)
    for path, page in full.items():
        if not path.endswith("/ps"):
            pages[path] = re.sub(r"^([^#\n].*) \S+$", r"\1 0", page, flags=re.MULTILINE)
    await collector.collect(wall_clock())
    pages.update(full)
    await collector.collect(wall_clock())
    reading = collector.reading(wall_clock())
    await collector.close()
    assert all(isinstance(server.live, Known) and server.live.value for server in reading.servers.values())
    seen: dict[str, ModelReading] = {}
    for server in reading.servers.values():
        for name, signal in server.models.items():
            assert isinstance(signal, Known), name
            seen[name] = signal.value
    assert {model.state for model in seen.values()} == {ModelState.READY}
    completed = {name: model.intervals[0].completed for name, model in seen.items() if model.intervals}
    assert completed == {"any": 47, "half_plus_two": 14, "llama-sglang": 24, "llama-nim": 9, "echo": 25, "tiny": 44}
    assert reading.latencies.keys() == {"any", "half_plus_two", "llama-sglang", "llama-nim"} | {
        "echo",
        "mistral",
        "tiny",
    }
    assert len(reading.latencies["llama-sglang"]) == 4
