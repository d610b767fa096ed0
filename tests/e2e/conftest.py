from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of a file run one after the other; so do all of a folder, which share what they start."""
    here = Path(__file__).parent
    if item.path.is_relative_to(here):
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(here).parts[0]))
