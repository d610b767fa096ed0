"""An API server for a test, ours or the one that KUBECONFIG_TEST names, and a fresh namespace on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.cluster import Cluster
from tests.kube.server import ApiServer

REAL = "KUBECONFIG_TEST"
TOKEN = "a-token-nobody-may-read"


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
    cluster.close()
