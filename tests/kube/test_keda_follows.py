"""A KEDA beside a real API server has its HPA follow what the loop decides; skips where none runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.config.load import parse_settings
from controlplane.domain.instructions import OverrideKind
from controlplane.loop.wire import build
from tests.kube.cluster import Cluster
from tests.kube.fixtures import REAL, controllers
from tests.prometheus_fixtures import free_port

EXAMPLE = Path(__file__).parents[2] / "deploy" / "keda" / "scaledobject.yaml"
KEDA = "keda.sh/v1alpha1"


def follow(cluster: Cluster, port: int) -> None:
    """The ScaledObject that deploy/ gives, of this namespace, and asking often."""
    body: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    body["metadata"]["namespace"] = cluster.namespace
    body["spec"] |= {"pollingInterval": 1}
    body["spec"]["triggers"][0]["metadata"]["scalerAddress"] = f"127.0.0.1:{port}"
    cluster.make(KEDA, "scaledobjects", body)


async def until(wanted: Callable[[], object], within_s: float) -> bool:
    for _ in range(int(within_s / 0.1)):
        if await asyncio.to_thread(wanted):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_the_replicas_that_are_decided_are_those_that_keda_and_hpa_set(cluster: Cluster, tmp_path: Path) -> None:
    if REAL not in os.environ:
        pytest.skip("needs KEDA beside a real API server")
    cluster.scaled(replicas=1)
    port = free_port()
    named = f"namespace: {cluster.namespace}, pods: app=llama, kubeconfig: {cluster.kubeconfig}"
    text = f"""
mode: act
store: sqlite:///{tmp_path}/history.db
scrape: {{interval: 500ms, timeout: 400ms}}
decide: {{interval: 1s}}
keda: {{port: {port}}}
workloads:
  - name: llama
    kind: vllm
    kubernetes: {{{named}}}
    replicas: {{min: 3, max: 20}}
    ports: {{http: 9}}
    publish_only: true
models:
  - {{name: llama-8b, runs_on: [llama]}}
"""

    def hpas() -> object:
        return cluster.any.list_namespaced_custom_object(
            "autoscaling", "v2", cluster.namespace, "horizontalpodautoscalers"
        )["items"]

    def has(replicas: int) -> bool:
        return cluster.replicas() == replicas

    with controllers(cluster):
        plane = build(parse_settings(text, {}))
        await plane.start()
        try:
            follow(cluster, port)
            if not await until(hpas, 10.0):
                pytest.skip("no KEDA runs beside this API server")
            assert await until(partial(has, 3), 60.0), cluster.replicas()
            for wanted in (19, 20, 4):
                say = partial(plane.desk.put_replicas, actor="a", reason="r", ttl_s=600.0)
                await say("llama", OverrideKind.REPLICAS, replicas=wanted)
                assert await until(partial(has, wanted), 60.0), cluster.replicas()
        finally:
            await plane.stop()
