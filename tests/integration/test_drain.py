"""The preStop of the vLLM pod in deploy/, run against a server that has requests under way."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import yaml

from tests.completion_server import CompletionServer

MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes" / "vllm.yaml"


def drain() -> tuple[str, float, float]:
    """The script of a vLLM pod's preStop, the seconds that it waits at most, and those that the pod has for its end."""
    deployment, _ = yaml.safe_load_all(MANIFEST.read_text())
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    *_, script = container["lifecycle"]["preStop"]["exec"]["command"]
    (waits,) = re.findall(r"monotonic\(\) \+ (\d+)", script)
    return script, float(waits), float(spec["terminationGracePeriodSeconds"])


async def test_a_vllm_pod_goes_once_it_has_ended_what_it_has() -> None:
    script, waits_s, grace_s = drain()
    assert grace_s > waits_s + 10
    async with CompletionServer() as server, aiohttp.ClientSession() as session:
        server.token_s = 0.02
        quick = (
            script.replace("http://127.0.0.1:8000", server.url).replace("sleep(10)", "sleep(0)").replace("(1)", "(.02)")
        )
        body = {"model": "tiny", "prompt": "a", "max_tokens": 50}
        answers = [asyncio.create_task(session.post(f"{server.url}/v1/completions", json=body)) for _ in range(3)]
        while not server.asked:  # noqa: ASYNC110 - nothing tells that a request has come in
            await asyncio.sleep(0.01)
        stopping = await asyncio.create_subprocess_exec(sys.executable, "-c", quick)
        assert await stopping.wait() == 0
        assert [task.done() for task in answers] == [True] * 3, "it waited for all of them"
        assert {(await task).status for task in answers} == {200}
