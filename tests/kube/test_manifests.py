"""What deploy/ gives for Kubernetes, as a real API server takes it: in a dry run that bears no unknown key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config
from kubernetes.dynamic import DynamicClient

from tests.kube.cluster import Cluster
from tests.kube.fixtures import REAL

DEPLOY = Path(__file__).parents[2] / "deploy"
OF_OTHERS = {"ScaledObject"}
"""Kinds whose definitions are not ours to give."""


def manifests() -> Iterator[tuple[str, Any]]:
    """By file and name."""
    for path in sorted(DEPLOY.rglob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if isinstance(one, dict) and "apiVersion" in one and one.get("kind") not in {None, *OF_OTHERS}:
                yield f"{path.relative_to(DEPLOY)}: {one['kind']} {one['metadata']['name']}", one


@pytest.mark.parametrize("manifest", [pytest.param(one, id=name) for name, one in manifests()])
def test_a_real_api_server_takes_it(cluster: Cluster, manifest: dict[str, Any]) -> None:
    if REAL not in os.environ:
        pytest.skip("ours knows no schema of Kubernetes' own kinds")
    api: Any = config.new_client_from_config(str(cluster.kubeconfig), persist_config=False)  # type: ignore[no-untyped-call,unused-ignore]
    kinds: Any = DynamicClient(api)  # type: ignore[no-untyped-call,unused-ignore]
    body = {**manifest, "metadata": {k: v for k, v in manifest["metadata"].items() if k != "namespace"}}
    how = [("dryRun", "All"), ("fieldValidation", "Strict")]
    kind = kinds.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    where = cluster.namespace if kind.namespaced else None
    made = kind.server_side_apply(
        body=body, namespace=where, field_manager="tests", force_conflicts=True, query_params=how
    )
    assert made.metadata.name == manifest["metadata"]["name"]
    api.close()
