"""Environment variables that override the file.

CONTROLPLANE_STORE stands for `store`, CONTROLPLANE_API__PORT for `port` in the block `api`. Lists (servers, models and
the like) are set in the file only. A variable with a block's name and an unknown key is a fault; other variables that
start with CONTROLPLANE_ are left alone, since Kubernetes sets some for every service
(CONTROLPLANE_PORT=tcp://10.0.0.1:8900 for one named controlplane).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.config.tree import Root

PREFIX = "CONTROLPLANE_"
LISTS = frozenset({"servers", "prometheus", "workloads", "gateways", "agents", "models", "events"})


def overlay(tree: Mapping[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """`tree` with the environment's values laid over it, and which variable gave which path ("api.port")."""
    result, origins = dict(tree), {}
    for variable in sorted(env):
        block, nested, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not variable.startswith(PREFIX) or block not in Root.model_fields or block in LISTS:
            continue
        # an empty value unsets what the file says
        value = env[variable] or None
        if not nested:
            result[block] = value
            origins[block] = variable
            continue
        below = result.get(block)
        if below is None or isinstance(below, dict):  # else the file's fault is told and the variable cannot help
            result[block] = {**(below or {}), key: value}
            origins[f"{block}.{key}"] = variable
    return {key: value for key, value in result.items() if key not in origins or value is not None}, origins
