"""Why mig-manager failed: its label does not say, its log does."""

from __future__ import annotations

import re

from controlplane.kube.connection import ApiObject

_APP = "nvidia-mig-manager"
_LEVELS = ("fatal", "error")
_MOST = 300
"""Characters of a reason."""


def is_mig_manager(pod: ApiObject) -> bool:
    """Whether the GPU operator made it to cut GPUs."""
    return (pod["metadata"].get("labels") or {}).get("app") == _APP


def last_error(log: str) -> str:
    """The last message of the worst level; empty: none. The log has logrus' form: level=fatal msg="..."."""
    for level in _LEVELS:
        if found := re.findall(rf'level={level} msg="((?:[^"\\\\]|\\\\.)*)"', log):
            return " ".join(str(found[-1]).replace("\\n", " ").split())[:_MOST]
    return ""
