"""The written forms of what Kubernetes knows by name: labels and their selectors, kinds, names.

Most are faults of meaning, told by the functions here, so that one hides none beside it and makes no false one.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from controlplane.config.faults import did_you_mean

LABEL_FORM = "a label of Kubernetes with its value, as KEY=VALUE, such as controlplane/traffic=on"
SELECTOR_FORM = "a label selector as of kubectl -l, such as app=llama, tier!=test, 'app in (llama, bert)', '!canary'"
NAMESPACE_FORM = "lower case letters, digits and '-', at most 63, a letter or digit first and last"
OBJECT_FORM = (
    "lower case letters, digits, '-' and '.', at most 253, a letter or digit first and last and beside each '.'"
)
KINDS = ("Deployment", "StatefulSet", "LeaderWorkerSet", "InferenceService")
"""Those that are scaled as a rule."""

API_VERSION_FORM = "GROUP/VERSION, such as apps/v1"

_API_VERSION = r"[a-z0-9.-]+/v[a-z0-9]+"
_KIND = r"[A-Z][A-Za-z0-9]*"

_PART = r"[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_PART}"
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set"""
_VALUE = rf"(?:{_PART})?"
_VALUES = rf"\((?!\s*\))\s*+{_VALUE}\s*+(?:,\s*+{_VALUE}\s*+)*\)"
_MEETS = rf"\s*+(?:==?|!=)\s*+{_VALUE}|\s*+[<>]\s*+\d+|\s++(?:not)?in\s*+{_VALUES}"
_DEMAND = rf"(?:!\s*+{_KEY}|{_KEY}(?:{_MEETS})?)"
_SELECTOR = re.compile(rf"\s*+{_DEMAND}\s*+(?:,\s*+{_DEMAND}\s*+)*", re.ASCII)
"""https://pkg.go.dev/k8s.io/apimachinery/pkg/labels#Parse"""
_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names"""
_LABEL = re.compile(rf"{_KEY}={_PART}", re.ASCII)


def is_label(text: str) -> bool:
    """Whether it is KEY=VALUE."""
    return _LABEL.fullmatch(text) is not None


def is_selector(text: str) -> bool:
    """Whether it is a label selector that demands anything; an empty one would take every pod."""
    return _SELECTOR.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether a namespace can be called so: a DNS label of RFC 1123."""
    return re.fullmatch(_DNS_LABEL, text) is not None


def is_object_name(text: str) -> bool:
    """Whether an object that is scaled can be called so: a DNS subdomain of RFC 1123."""
    return _DNS_NAME.fullmatch(text) is not None


def is_api_version(text: str) -> bool:
    """Whether it is a group with its version."""
    return re.fullmatch(_API_VERSION, text) is not None


def kind_fault(kind: str) -> str:
    """What is allowed in place of such a kind; empty: it may be one."""
    if kind == "ReplicaSet":
        return "Deployment, and the name of the one that owns it: that would undo what is set here"
    known = {usual.lower() for usual in KINDS}
    slip = kind not in KINDS and kind.lower().removesuffix("s") in known  # such as Statefulset, Deployments
    if re.fullmatch(_KIND, kind) and not slip:
        return ""
    return f"{did_you_mean(kind.capitalize(), KINDS)}a kind as Kubernetes writes it, such as {', '.join(KINDS)}"


def _text_of_label(value: object) -> object:
    """No mapping, as labels are written in a manifest."""
    if not isinstance(value, str):
        raise ValueError(LABEL_FORM)  # noqa: TRY004 - pydantic wants ValueError
    return value


Label = Annotated[str, BeforeValidator(_text_of_label)]
Kind = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_KIND}$"})]
ApiVersion = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_API_VERSION}$"})]
