"""What the Kubernetes API refuses of the objects that are written here: labels, deletion costs, selectors of pods."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError
from tests.kube.scales import OF_PODS

if TYPE_CHECKING:
    from tests.kube.objects import Kind

Object = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_COST = "controller.kubernetes.io/pod-deletion-cost"
_INTEGER = re.compile(r"-[0-9]+|0|[1-9][0-9]*")


def check_valid(kind: Kind, old: Object | None, new: Object) -> None:
    """Raises ApiError 422; `old` None: it is made."""
    meta = new["metadata"]
    for key, value in (meta.get("labels") or {}).items():
        prefix, _, name = key.rpartition("/")
        if (prefix and not _PREFIX.fullmatch(prefix)) or not _NAME.fullmatch(name):
            raise _invalid(
                kind, new, "metadata.labels", key, "a valid label key must consist of alphanumeric characters"
            )
        if value and not _NAME.fullmatch(value):
            raise _invalid(kind, new, "metadata.labels", value, "a valid label must consist of alphanumeric characters")
    cost = (meta.get("annotations") or {}).get(_COST)
    if kind.plural == "pods" and cost is not None and not _is_int32(cost):
        raise _invalid(kind, new, f"metadata.annotations[{_COST}]", cost, "must be a 32bit integer")
    if kind.scale is OF_PODS:
        _check_selector(kind, old, new)


def _check_selector(kind: Kind, old: Object | None, new: Object) -> None:
    """Of a Deployment and its like, with equalities only."""
    wanted = (new["spec"].get("selector") or {}).get("matchLabels")
    if not wanted:
        raise _invalid(kind, new, "spec.selector", wanted, "Required value")
    labels = ((new["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not wanted.items() <= labels.items():
        raise _invalid(
            kind, new, "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )
    if old is not None and old["spec"]["selector"] != new["spec"]["selector"]:
        raise _invalid(kind, new, "spec.selector", wanted, "field is immutable")


def _is_int32(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text)) and -(2**31) <= int(text) < 2**31


def _invalid(kind: Kind, thing: Object, field: str, value: object, why: str) -> ApiError:
    return ApiError(
        422, f'{kind.name} "{thing["metadata"]["name"]}" is invalid: {field}: Invalid value: {value}: {why}'
    )
