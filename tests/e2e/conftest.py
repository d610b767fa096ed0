from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.contract.conftest import postgres
from tests.e2e.plane import Plane
from tests.kube.fixtures import api_server, cluster, kubeconfig
from tests.rig_fixtures import module_triton_rig, rig_environment, triton_rig

__all__ = [
    "PlaneFactory",
    "api_server",
    "cluster",
    "kubeconfig",
    "module_triton_rig",
    "new_plane",
    "postgres",
    "rig_environment",
    "triton_rig",
]

PlaneFactory = Callable[[Mapping[str, Any]], Plane]


@pytest.fixture
def new_plane(tmp_path: Path) -> Iterator[PlaneFactory]:
    """Makes control planes, not yet started, that are killed at the end of the test."""
    planes: list[Plane] = []

    def make(tree: Mapping[str, Any]) -> Plane:
        planes.append(Plane(tmp_path / f"plane{len(planes)}", tree))
        return planes[-1]

    yield make
    for plane in planes:
        plane.kill()


class _ByPart(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist tells no types
    """Tests of a file run one after the other; so do all of a folder, which share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        part, _, _ = nodeid.partition("::")
        return "/".join(part.split("/")[:3])  # tests/e2e/FILE or tests/e2e/FOLDER


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByPart:
    """How tests are given to workers, where there are several (`-n 2`)."""
    return _ByPart(config, log)
