"""The scale subresource as autoscaling/v1 Scale, and what may not be written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError

if TYPE_CHECKING:
    from tests.kube.objects import Kind

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where an object has its replicas asked for and there, and the selector of its pods ("": nowhere)."""

    spec: str
    status: str
    selector: str


OF_PODS = ScalePaths(".spec.replicas", ".status.replicas", ".spec.selector.matchLabels")
"""Deployments and their like."""


def scale_of(kind: Kind, thing: Object) -> Object:
    """The Scale of an object."""
    paths = _paths(kind)
    meta = {key: thing["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    status: Object = {"replicas": _at(thing, paths.status) or 0}
    selector = _at(thing, paths.selector) if paths.selector else None
    if isinstance(selector, dict):
        selector = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    if selector:
        status["selector"] = selector
    asked = _at(thing, paths.spec)
    default = 1 if paths is OF_PODS else 0
    spec = {"replicas": default if asked is None else asked}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}


def scaled(kind: Kind, thing: Object, scale: Object) -> Object:
    """The object with the replicas that a Scale asks for, and its version where that carries one."""
    *above, last = _paths(kind).spec.strip(".").split(".")
    new = copy.deepcopy(thing)
    inner = new
    for key in above:
        inner = inner.setdefault(key, {})
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        raise invalid("Scale", thing["metadata"]["name"], "spec.replicas", replicas, "greater than or equal to 0")
    inner[last] = replicas
    version = (scale.get("metadata") or {}).get("resourceVersion")
    new["metadata"].pop("resourceVersion")
    if version:
        new["metadata"]["resourceVersion"] = version
    return new


def check(kind: Kind, name: str, thing: Object) -> None:
    """Raises ApiError 422 for replicas below 0, and for numbers that the schema of a custom resource does not allow."""
    if kind.scale is OF_PODS and (thing["spec"].get("replicas", 1)) < 0:
        raise invalid(kind.name, name, "spec.replicas", thing["spec"]["replicas"], "greater than or equal to 0")
    for path, value, bounds in _numbers("", thing, json.loads(kind.schema)):
        if value > bounds.get("maximum", value):
            raise invalid(kind.name, name, path, value, f"less than or equal to {bounds['maximum']}")
        if value < bounds.get("minimum", value):
            raise invalid(kind.name, name, path, value, f"greater than or equal to {bounds['minimum']}")


def invalid(kind: str, name: str, field: str, value: int, allowed: str) -> ApiError:
    """As the API server refuses a value."""
    why = f"Invalid value: {value}: should be {allowed}"
    error = ApiError(422, f'{kind} "{name}" is invalid: {field}: {why}')
    cause = {"reason": "FieldValueInvalid", "message": why, "field": field}
    error.status["details"] = {"name": name, "kind": kind, "causes": [cause]}
    return error


def _paths(kind: Kind) -> ScalePaths:
    if kind.scale is None:
        raise ApiError(404, "the server could not find the requested resource")
    return kind.scale


def _at(thing: Object, path: str) -> Any:
    found: Any = thing
    for key in path.strip(".").split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _numbers(path: str, thing: Any, schema: Object) -> Iterator[tuple[str, int, Object]]:
    if isinstance(thing, int):
        yield path, thing, schema
    elif isinstance(thing, dict):
        for key, inner in (schema.get("properties") or {}).items():
            if key in thing:
                yield from _numbers(f"{path}.{key}".strip("."), thing[key], inner)
