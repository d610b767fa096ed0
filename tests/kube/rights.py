"""Rights as a Role gives them, and the answer to whoever lacks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError

if TYPE_CHECKING:
    from tests.kube.objects import Place

Rule = Mapping[str, Any]
USER = "system:serviceaccount:controlplane:controlplane"


def check_rights(rules: Sequence[Rule], verb: str, resource: str, place: Place) -> None:
    """Raises ApiError 403 where no rule allows it."""
    group = place.kind.group
    for rule in rules:
        if place.name not in rule.get("resourceNames", [place.name]):
            continue
        if _any(rule["apiGroups"], group) and _any(rule["resources"], resource) and _any(rule["verbs"], verb):
            return
    what = f"{place.kind.plural}.{group}" if group else place.kind.plural
    what += f' "{place.name}"' if place.name else ""
    needs = f'cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{place.namespace}"'
    raise ApiError(403, f'{what} is forbidden: User "{USER}" {needs}')


def _any(allowed: Sequence[str], asked: str) -> bool:
    return "*" in allowed or asked in allowed
