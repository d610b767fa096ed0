"""All dashboards that come with the product."""

from __future__ import annotations

from controlplane.publish.dashboards.autoscaler import autoscaler
from controlplane.publish.dashboards.builder import Dashboard, as_text
from controlplane.publish.dashboards.control_plane import control_plane
from controlplane.publish.dashboards.cost import cost
from controlplane.publish.dashboards.fleet import fleet
from controlplane.publish.dashboards.gpu import gpu
from controlplane.publish.dashboards.slo import slo
from controlplane.publish.dashboards.triton import triton
from controlplane.publish.dashboards.vllm import vllm


def dashboards() -> tuple[Dashboard, ...]:
    """Every dashboard, the overview first."""
    return tuple(made() for made in (fleet, slo, autoscaler, triton, vllm, gpu, cost, control_plane))


def files() -> dict[str, str]:
    """What stands in each file of a folder of dashboards, by its name."""
    return {f"{made['uid']}.json": as_text(made) for made in dashboards()}
