"""Replicas decided by the loop and carried out on a cluster with less room than is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from controlplane.config.load import parse_settings
from controlplane.domain.decision import Step
from controlplane.loop.wire import ControlPlane, build
from tests.kube.cluster import Cluster
from tests.kube.fixtures import controllers


async def test_what_a_cluster_has_no_room_for_is_asked_for_once_and_told_with_the_schedulers_reason(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.scaled(replicas=1)
    named = f"namespace: {cluster.namespace}, kind: Deployment, name: llama, kubeconfig: {cluster.kubeconfig}"
    text = f"""
mode: act
store: sqlite:///{tmp_path}/history.db
scrape: {{interval: 500ms, timeout: 400ms}}
decide: {{interval: 1s}}
workloads:
  - {{name: w, kind: vllm, kubernetes: {{{named}}}, replicas: {{min: 4, max: 4}}, ports: {{http: 9}}}}
models:
  - {{name: llama-8b, runs_on: [w]}}
"""
    with controllers(cluster, room=3):
        plane = build(parse_settings(text, {}))
        await plane.start()
        try:
            async with asyncio.timeout(90):
                while len(plane.picture().fleet.members) < 3 or not plane.picture().fleet.scaling["w"].unscheduled:
                    await plane.runner.changed(1.0)
                ticks = plane.picture().health.ticks
                while plane.picture().health.ticks < ticks + 4:
                    await plane.runner.changed(1.0)
            told = await plane.store.call(lambda s: s.decisions(changes_only=True))
        finally:
            await plane.stop()
    scaled = [record for record in told if record.decision.step is Step.SCALE]
    assert [record.decision.target.instances for record in scaled if record.decision.target] == [4], "asked for once"
    assert [outcome.detail for record in scaled for outcome in record.outcomes]
    assert plane.picture().fleet.scaling["w"].unscheduled[0].why.startswith("0/")


@contextlib.asynccontextmanager
async def planned(cluster: Cluster, tmp_path: Path, kubernetes: str, most: int) -> AsyncIterator[ControlPlane]:
    named = f"namespace: {cluster.namespace}, kind: Deployment, name: llama, kubeconfig: {cluster.kubeconfig}"
    text = f"""
mode: act
store: sqlite:///{tmp_path}/history.db
scrape: {{interval: 500ms, timeout: 400ms}}
decide: {{interval: 1s}}
workloads:
  - name: w
    kind: vllm
    kubernetes: {{{named}{kubernetes}}}
    replicas: {{min: 1, max: {most}}}
    ports: {{http: 9}}
models:
  - {{name: llama-8b, runs_on: [w]}}
"""
    plane = build(parse_settings(text, {}))
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


async def test_pods_out_of_traffic_are_put_back_by_a_control_plane_whose_configuration_drains_no_more(
    cluster: Cluster, tmp_path: Path
) -> None:
    def out() -> int:
        pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector="controlplane/traffic=off").items
        return len(pods)

    async def until(count: int, plane: ControlPlane) -> None:
        async with asyncio.timeout(60):
            while await asyncio.to_thread(out) != count:
                await plane.runner.changed(1.0)

    cluster.scaled(replicas=2, more={"controlplane/traffic": "on"})
    with controllers(cluster) as running:
        await asyncio.to_thread(running.until_ready, 2)
        drain = ", drain: {label: controlplane/traffic=on, timeout: 1h}"
        async with planned(cluster, tmp_path, drain, most=1) as plane:
            await until(1, plane)
        assert out() == 1, "one that stops leaves them as they are"
        async with planned(cluster, tmp_path, "", most=2) as plane:
            await until(0, plane)
        assert cluster.replicas() == 2
