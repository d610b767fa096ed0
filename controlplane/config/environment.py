"""Environment variables that override the file.

CONTROLPLANE_STORE stands for `store`, CONTROLPLANE_API__PORT for `port` in the block `api`. Lists (servers, models and
the like) are set in the file only. A variable with a block's name and an unknown key is a fault; other variables that
start with CONTROLPLANE_ are left alone, since Kubernetes sets some for every service
(CONTROLPLANE_PORT=tcp://10.0.0.1:8900 for one named controlplane).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.config.tree import Root

PREFIX = "CONTROLPLANE_"
OF_COMMANDS = frozenset({"CONTROLPLANE_URL", "CONTROLPLANE_TOKEN", "CONTROLPLANE_TOKEN_FILE", "CONTROLPLANE_CONFIG"})
"""Those that stand for options of commands."""
_OF_SERVICES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)")
"""Set by Kubernetes for every service: https://kubernetes.io/docs/concepts/services-networking/service/"""
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


def unheeded(env: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that looks like a misspelt one of ours, since nothing heeds it."""
    settings = {f"{PREFIX}{name.upper()}" for name in Root.model_fields if name not in LISTS}
    known = sorted(settings | OF_COMMANDS)
    for variable in sorted(env):
        whole = variable.partition("__")[0]
        if variable.startswith(PREFIX) and whole not in known and not _OF_SERVICES.search(variable):
            meant = difflib.get_close_matches(whole, known, n=1, cutoff=0.8)
            if meant:
                yield f"{variable} is heeded by nothing: did you mean {meant[0]}?"
