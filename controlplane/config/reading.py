"""The plain tree into typed items, part by part, so that one fault does not hide the others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from controlplane.config.environment import LISTS
from controlplane.config.faults import from_pydantic, join
from controlplane.config.model_items import ModelItem, ObjectiveItem
from controlplane.config.target_items import AgentItem, GatewayItem, PrometheusItem, ServerItem, WorkloadItem
from controlplane.config.tree import Root
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.mapping import PageMapping

B = TypeVar("B", bound=BaseModel)

_STAND_INS = {"http": "http://unknown", "url": "http://unknown", "page": "http://unknown", "histogram": "unknown"}
"""For required keys at fault, so that the rest of an entry is judged; such a document never becomes settings."""


@dataclass(frozen=True, slots=True)
class Part(Generic[B]):
    """A list entry that could be read, and where it stands."""

    path: str
    item: B


@dataclass(frozen=True, slots=True)
class ModelPart:
    """A model entry with its objectives."""

    path: str
    item: ModelItem
    objectives: tuple[Part[ObjectiveItem], ...]


@dataclass(frozen=True, slots=True)
class Document:
    """All that could be read.

    `kinds`, those of servers and workloads by name, has unreadable entries too: they are not unknown names. `mappings`
    are those of servers and workloads whose page is read by one, where there is no fault in it.
    """

    root: Root
    servers: tuple[Part[ServerItem], ...]
    prometheus: tuple[Part[PrometheusItem], ...]
    workloads: tuple[Part[WorkloadItem], ...]
    gateways: tuple[Part[GatewayItem], ...]
    agents: tuple[Part[AgentItem], ...]
    models: tuple[ModelPart, ...]
    kinds: Mapping[str, ServerKind | None]
    mappings: Mapping[str, PageMapping] = field(default_factory=dict)


def read_document(tree: Mapping[str, Any]) -> tuple[Document, list[Fault]]:
    """Everything in `tree` that has the right form, and a fault for everything that has not."""
    faults: list[Fault] = []
    lists = {key: tree[key] for key in LISTS if isinstance(tree.get(key), list)}
    hollow = {**tree, **{key: [] for key in lists}}
    root = _read(Root, hollow, "", faults) or Root.model_construct()
    servers = _parts(ServerItem, lists.get("servers", []), "servers", faults)
    prometheus = _parts(PrometheusItem, lists.get("prometheus", []), "prometheus", faults)
    workloads = _parts(WorkloadItem, lists.get("workloads", []), "workloads", faults)
    gateways = _parts(GatewayItem, lists.get("gateways", []), "gateways", faults)
    agents = _parts(AgentItem, lists.get("agents", []), "agents", faults)
    models = [part for i, raw in enumerate(lists.get("models", [])) if (part := _model(raw, join("models", i), faults))]
    kinds = _kinds([*lists.get("servers", []), *lists.get("workloads", [])])
    return Document(root, servers, prometheus, workloads, gateways, agents, tuple(models), kinds), faults


def _kinds(raws: list[Any]) -> dict[str, ServerKind | None]:
    kinds: dict[object, ServerKind] = {kind.value: kind for kind in ServerKind}
    named = (raw for raw in raws if isinstance(raw, dict) and isinstance(raw.get("name"), str))
    return {raw["name"]: kinds.get(str(raw.get("kind"))) for raw in named}


def _model(raw: object, path: str, faults: list[Fault]) -> ModelPart | None:
    objectives = raw.get("objectives") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and isinstance(objectives, list):
        raw = {**raw, "objectives": []}
    else:
        objectives = []
    parts = _parts(ObjectiveItem, objectives, join(path, "objectives"), faults)
    item = _read(ModelItem, raw, path, faults)
    return None if item is None else ModelPart(path, item, parts)


def _parts(cls: type[B], raws: list[Any], path: str, faults: list[Fault]) -> tuple[Part[B], ...]:
    read = ((join(path, i), _read(cls, raw, join(path, i), faults)) for i, raw in enumerate(raws))
    return tuple(Part(where, item) for where, item in read if item is not None)


def _read(cls: type[B], raw: object, path: str, faults: list[Fault]) -> B | None:
    """An instance of `cls`; where keys are at fault, without them; None where that is not enough."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        faults.extend(from_pydantic(cls, error, path))
        wrong = [details["loc"] for details in error.errors()]
    if not isinstance(raw, dict):
        return None
    stand_ins = {**_STAND_INS, "name": re.sub(r"\W", "_", path)}
    stand_ins = {key: value for key, value in stand_ins.items() if key in cls.model_fields}
    if "name" in stand_ins and not cls.model_fields["name"].is_required():
        del stand_ins["name"]
    for locs in (wrong, [loc[:1] for loc in wrong]):
        with contextlib.suppress(ValidationError):
            return cls.model_validate({**stand_ins, **_without(raw, locs)})
    return None


def _without(raw: dict[Any, Any], locs: list[tuple[int | str, ...]]) -> dict[Any, Any]:
    """`raw` less what stands at `locs`; a list with a wrong entry goes as a whole."""
    result = {}
    for key, value in raw.items():
        below = [loc[1:] for loc in locs if loc and loc[0] == key]
        if not below:
            result[key] = value
        elif isinstance(value, dict) and all(below):
            result[key] = _without(value, below)
    return result
