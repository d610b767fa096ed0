"""What is written for a change, blocking. Everything is refused with 409 where somebody wrote in between.

Each step is one patch of the node, so that nobody finds half of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controlplane.act.mig.operator.cuts import Cuts, entry_of, names_of
from controlplane.act.mig.operator.journal import ANNOTATION, Journal, Phase, journal_of
from controlplane.act.mig.operator.next_step import LABEL, STATE, View, label_of
from controlplane.act.mig.operator.parted_file import with_entries
from controlplane.kube.connection import ApiObject
from controlplane.kube.nodes import Nodes

FILE = "config.yaml"
"""The key of mig-parted's file in the ConfigMap."""


def write_entry(nodes: Nodes, namespace: str, name: str, cuts: Cuts) -> None:
    """Have the configuration in the ConfigMap, under both its names, and no entry of ours that no node is to have.

    Raises ApiServerError, ConflictError for a ConfigMap whose text nothing can be added to.
    """
    found = nodes.config_map(namespace, name)
    used = {config for node in nodes.all() for config in _configs(node)}
    text = str((found.get("data") or {}).get(FILE, ""))
    wanted = with_entries(text, dict.fromkeys(names_of(cuts), entry_of(cuts)), used)
    if wanted != text:
        nodes.patch_config_map(namespace, name, str(found["metadata"]["resourceVersion"]), {FILE: wanted})


def begin(nodes: Nodes, view: View) -> None:
    """Cordon the node."""
    journal = view.journal
    cordoned = (journal is not None and journal.cordoned) or not (view.node.get("spec") or {}).get("unschedulable")
    begun = Journal(names_of(view.wanted)[0], Phase.DRAINING, view.now, cordoned, models=view.models)
    _patch(nodes, view, begun, {"spec": {"unschedulable": True}})


def label(nodes: Nodes, view: View) -> None:
    """Give mig-manager the word, by a name that the label does not have, and take away what it said before."""
    journal = _journal(view)
    config = next(name for name in names_of(view.wanted) if name != view.label)
    since = journal.since if journal.phase is Phase.CHANGING else view.now
    labelled = replace(journal, config=config, phase=Phase.CHANGING, since=since)
    _patch(nodes, view, labelled, {}, {LABEL: config, STATE: None})


def fail(nodes: Nodes, view: View, why: str) -> None:
    """Leave the node cordoned, and say why."""
    _patch(nodes, view, replace(_journal(view), phase=Phase.FAILED, why=why), {})


def release(nodes: Nodes, view: View) -> None:
    """Uncordon the node, where we cordoned it; nothing is left of the change."""
    if (journal := view.journal) is not None:
        _patch(nodes, view, None, {"spec": {"unschedulable": None}} if journal.cordoned else {})


def _journal(view: View) -> Journal:
    journal = view.journal
    if journal is None:
        raise AssertionError("a change without its journal")
    return journal


def _patch(
    nodes: Nodes,
    view: View,
    journal: Journal | None,
    body: dict[str, Any],
    labels: dict[str, str | None] | None = None,
) -> None:
    meta: dict[str, Any] = {
        "resourceVersion": view.node["metadata"]["resourceVersion"],
        "annotations": {ANNOTATION: None if journal is None else journal.text()},
    }
    if labels:
        meta["labels"] = labels
    nodes.patch(view.name, {**body, "metadata": meta})


def _configs(node: ApiObject) -> set[str]:
    journal = journal_of(node)
    return {label_of(node, LABEL)} | (set() if journal is None else {journal.config})
