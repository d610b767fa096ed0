"""A Triton and a vLLM as their recorded pages tell them."""

from __future__ import annotations

from controlplane.collect.exposition import parse
from controlplane.collect.servers import scraped
from controlplane.collect.triton.detail import read_host
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import IndexEntry, read_config, read_series
from controlplane.collect.vllm.server import VllmServer
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelState, ServerReading
from tests.unit.collect.pages import absorb, recorded

NOW = 10.0
FLEET = Fleet(
    servers=(ServerSpec("t", ServerKind.TRITON, "", ""), ServerSpec("v", ServerKind.VLLM, "", "")),
    models=(ModelSpec("bert", "echo", ("t",), Mode.ACT), ModelSpec("llm", "tiny", ("v",), Mode.ACT)),
)
TRITON_PAGE = recorded("triton-2.51.0-cpu-summaries.txt")
VLLM_PAGE = recorded("vllm-0.32.0-under-load.txt")


def triton(text: str) -> ServerReading:
    server = TritonServer(FLEET.servers[0], FLEET.models[:1], scraped(FLEET.servers[0], []), max_age_s=15, keep_s=900)
    page = parse(text, TRITON.wanted)
    index = {"echo": IndexEntry(ModelState.READY, touched=True)}
    config = read_config(recorded("triton-2.51.0-model-config.json").encode())
    server.absorb(TritonRound(NOW, index, read_series(page), {}, {"echo": config}, host=read_host(page)))
    return server.reading(NOW)


def vllm(text: str) -> ServerReading:
    server = VllmServer(FLEET.servers[1], FLEET.models[1:], scraped(FLEET.servers[1], []), max_age_s=15, keep_s=900)
    absorb(server, NOW, text)
    return server.reading(NOW)
