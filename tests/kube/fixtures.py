"""An API server for a test, ours or the one that KUBECONFIG_TEST names, and a fresh namespace on it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kube.cluster import Cluster
from tests.kube.controllers import Controllers
from tests.kube.real import Kubelet, RealRights
from tests.kube.rights import Rule
from tests.kube.server import ApiServer

REAL = "KUBECONFIG_TEST"
TOKEN = "a-token-nobody-may-read"
LIMITED = "a-token-of-few-rights"


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """Ours, whose faults a test chooses."""
    if REAL in os.environ:
        pytest.skip(f"{REAL} names a real API server, which cannot be made to fail")
    server = ApiServer(token=TOKEN)
    yield server
    server.stop()


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A kubeconfig for the API server of this test."""
    if REAL in os.environ:
        return Path(os.environ[REAL])
    server: ApiServer = request.getfixturevalue("api_server")
    path = tmp_path / "kubeconfig.json"
    path.write_text(server.kubeconfig())
    return path


@pytest.fixture
def cluster(kubeconfig: Path) -> Iterator[Cluster]:
    """A fresh namespace."""
    cluster = Cluster(kubeconfig)
    yield cluster
    if REAL in os.environ:  # its objects are nobody's work any more
        cluster.core.delete_namespace(cluster.namespace)
    cluster.close()


class OurRights:
    """A token of our API server that may do what `allow` says."""

    def __init__(self, server: ApiServer, path: Path) -> None:
        self._server = server
        self._rules: dict[str, Sequence[Rule]] = {}
        path.write_text(server.kubeconfig(LIMITED))
        self.kubeconfig = str(path)

    def allow(self, rules: Sequence[Rule], namespace: str = "") -> None:
        """Nothing but these, from now on; ours does not tell namespaces apart."""
        self._rules[namespace] = rules
        self._server.rights[LIMITED] = [rule for some in self._rules.values() for rule in some]

    def close(self) -> None:
        """The server ends with its fixture."""


Rights = OurRights | RealRights


@pytest.fixture
def rights(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Iterator[Rights]:
    """Somebody who may do nothing yet."""
    path = tmp_path / "limited.json"
    made: Rights = (
        RealRights(cluster, path) if REAL in os.environ else OurRights(request.getfixturevalue("api_server"), path)
    )
    yield made
    made.close()


def controllers(cluster: Cluster, **how: Any) -> Kubelet | Controllers:
    """Whoever makes the pods of llama, unless told otherwise a Deployment, and runs them, on this test's API server."""
    return Kubelet(cluster, **how) if REAL in os.environ else Controllers(cluster, **how)
