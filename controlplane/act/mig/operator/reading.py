"""What is read for a change, blocking. Everything raises ApiServerError."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from controlplane.act.mig.operator.draining import Drain, drain_of
from controlplane.act.mig.operator.journal import Phase, journal_of
from controlplane.act.mig.operator.next_step import View
from controlplane.act.mig.operator.parted_file import entries
from controlplane.act.mig.operator.writing import FILE
from controlplane.kube.connection import ApiObject, ApiServerError
from controlplane.kube.nodes import Nodes

_MANAGER = "nvidia-mig-manager"
_LEVELS = ("fatal", "error")
_MOST = 300
"""Characters of a reason."""


def seen(nodes: Nodes, name: str) -> tuple[ApiObject, Drain]:
    """A node, and who has its GPUs."""
    return nodes.read(name), drain_of(nodes.pods(name))


def under_way(nodes: Nodes, namespace: str, config_map: str) -> list[tuple[str, Any, tuple[str, ...] | None]]:
    """Nodes with a change that did not fail, the entry that it is to, None where that is gone, and the models touched.

    Raises ConflictError too, for a ConfigMap that is no file of mig-parted.
    """
    journals = [(str(node["metadata"]["name"]), journal_of(node)) for node in nodes.all()]
    going = [(name, journal) for name, journal in journals if journal and journal.phase is not Phase.FAILED]
    if not going:
        return []
    found = nodes.config_map(namespace, config_map)
    there = entries(str((found.get("data") or {}).get(FILE, "")))
    return [(name, there.get(journal.config), journal.models) for name, journal in going]


def left_failed(nodes: Nodes) -> list[tuple[str, str]]:
    """Nodes whose change failed and that nobody let go of since, and why it did."""
    journals = [(str(node["metadata"]["name"]), journal_of(node)) for node in nodes.all()]
    return [(name, journal.why) for name, journal in journals if journal and journal.phase is Phase.FAILED]


def reason(nodes: Nodes, view: View) -> str:
    """What mig-manager wrote to its log last, where it failed and we may read that; else empty."""
    if view.state != "failed":
        return ""
    with suppress(ApiServerError):
        pods = [pod for pod in nodes.pods(view.name) if _is_mig_manager(pod)]
        return next((last_error(nodes.log(pod)) for pod in pods), "")
    return ""


def last_error(log: str) -> str:
    """The last message of the worst level; empty: none. The log has logrus' form: level=fatal msg="..."."""
    for level in _LEVELS:
        if found := re.findall(rf'level={level} msg="((?:[^"\\]|\\.)*)"', log):
            return " ".join(str(found[-1]).replace("\\n", " ").split())[:_MOST]
    return ""


def _is_mig_manager(pod: ApiObject) -> bool:
    return (pod["metadata"].get("labels") or {}).get("app") == _MANAGER
