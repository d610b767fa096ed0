"""What a pod itself tells of being out of traffic."""

from __future__ import annotations

from controlplane.domain.scaling import OFF, TAKEN_FROM
from controlplane.kube.connection import ApiObject


def taken_from(pod: ApiObject) -> tuple[str, str] | None:
    """Key and value of the label that it had in traffic; None: it was not taken out by us, or somebody has it since."""
    meta = pod["metadata"]
    key, _, value = str((meta.get("annotations") or {}).get(TAKEN_FROM, "")).partition("=")
    return (key, value) if value and (meta.get("labels") or {}).get(key) == OFF else None
