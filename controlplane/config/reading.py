"""The plain tree into typed items, part by part, so that one fault does not hide the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from controlplane.config.alert_items import TeamItem
from controlplane.config.bounds import UNBOUNDED
from controlplane.config.environment import LISTS
from controlplane.config.expected_items import EventItem
from controlplane.config.faults import from_pydantic, join
from controlplane.config.model_items import ModelItem, ObjectiveItem
from controlplane.config.target_items import AgentItem, GatewayItem, PrometheusItem, ServerItem, WorkloadItem
from controlplane.config.tree import Root
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.mapping import PageMapping
from controlplane.domain.profiles import Profile

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

    `kinds`, those of servers and workloads by name, and `team_names` have unreadable entries too: they are not unknown
    names. `mappings` are those of servers and workloads whose page is read by one, where there is no fault in it;
    `profiles` those of models that have one, likewise.
    """

    root: Root
    servers: tuple[Part[ServerItem], ...]
    prometheus: tuple[Part[PrometheusItem], ...]
    workloads: tuple[Part[WorkloadItem], ...]
    gateways: tuple[Part[GatewayItem], ...]
    agents: tuple[Part[AgentItem], ...]
    models: tuple[ModelPart, ...]
    events: tuple[Part[EventItem], ...]
    teams: tuple[Part[TeamItem], ...]
    kinds: Mapping[str, ServerKind | None]
    team_names: tuple[str, ...]
    mappings: Mapping[str, PageMapping] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)


def read_document(tree: Mapping[str, Any]) -> tuple[Document, list[Fault]]:
    """Everything in `tree` that has the right form, and a fault for everything that has not."""
    faults: list[Fault] = []
    lists = {key: tree[key] for key in LISTS if isinstance(tree.get(key), list)}
    alerts, raw_teams = _taken(tree.get("alerts"), "teams")
    hollow = {**tree, **{key: [] for key in lists}} | ({"alerts": alerts} if "alerts" in tree else {})
    root = _read(Root, hollow, "", faults) or Root.model_construct()
    servers = _parts(ServerItem, lists.get("servers", []), "servers", faults)
    prometheus = _parts(PrometheusItem, lists.get("prometheus", []), "prometheus", faults)
    workloads = _parts(WorkloadItem, lists.get("workloads", []), "workloads", faults)
    gateways = _parts(GatewayItem, lists.get("gateways", []), "gateways", faults)
    agents = _parts(AgentItem, lists.get("agents", []), "agents", faults)
    models = [part for i, raw in enumerate(lists.get("models", [])) if (part := _model(raw, join("models", i), faults))]
    events = _parts(EventItem, lists.get("events", []), "events", faults)
    teams = _parts(TeamItem, raw_teams, "alerts.teams", faults)
    kinds = _kinds([*lists.get("servers", []), *lists.get("workloads", [])])
    names = tuple(str(raw["name"]) for raw in raw_teams if isinstance(raw, dict) and "name" in raw)
    return Document(
        root, servers, prometheus, workloads, gateways, agents, tuple(models), events, teams, kinds, names
    ), faults


def _kinds(raws: list[Any]) -> dict[str, ServerKind | None]:
    kinds: dict[object, ServerKind] = {kind.value: kind for kind in ServerKind}
    named = (raw for raw in raws if isinstance(raw, dict) and isinstance(raw.get("name"), str))
    return {raw["name"]: kinds.get(str(raw.get("kind"))) for raw in named}


def _model(raw: object, path: str, faults: list[Fault]) -> ModelPart | None:
    raw, objectives = _taken(raw, "objectives")
    parts = _parts(ObjectiveItem, objectives, join(path, "objectives"), faults)
    item = _read(ModelItem, raw, path, faults)
    return None if item is None else ModelPart(path, item, parts)


def _taken(raw: object, key: str) -> tuple[object, list[Any]]:
    """`raw` with an empty list at `key`, and the list that stood there; where none stood there, as it is."""
    found = raw.get(key) if isinstance(raw, dict) else None
    return ({**raw, key: []}, found) if isinstance(raw, dict) and isinstance(found, list) else (raw, [])


def _parts(cls: type[B], raws: list[Any], path: str, faults: list[Fault]) -> tuple[Part[B], ...]:
    read = ((join(path, i), _read(cls, raw, join(path, i), faults)) for i, raw in enumerate(raws))
    return tuple(Part(where, item) for where, item in read if item is not None)


def _read(cls: type[B], raw: object, path: str, faults: list[Fault]) -> B | None:
    """An instance of `cls`; where keys are at fault, without them; None where that is not enough."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        faults.extend(from_pydantic(cls, error, path))
        # a list would go as a whole, and what is only out of bounds in it hides none of the faults beside it
        wrong = [loc for loc in _at_fault(error) if not any(isinstance(step, int) for step in loc)]
    if not isinstance(raw, dict):
        return None
    stand_ins = {**_STAND_INS, "name": re.sub(r"\W", "_", path)}
    stand_ins = {key: value for key, value in stand_ins.items() if key in cls.model_fields}
    if "name" in stand_ins and not cls.model_fields["name"].is_required():
        del stand_ins["name"]
    rest = _without(raw, wrong)
    while True:
        try:
            return cls.model_validate({**stand_ins, **rest}, context=UNBOUNDED)
        except ValidationError as error:
            smaller = _without(rest, _at_fault(error))
        if smaller == rest:
            return None
        rest = smaller


def _at_fault(error: ValidationError) -> list[tuple[int | str, ...]]:
    """What to leave out; a block that lacks a key goes as a whole."""
    return [found["loc"][:-1] if found["type"] == "missing" else found["loc"] for found in error.errors()]


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
