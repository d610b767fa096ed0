"""Matchers of Alertmanager, written so that any value means itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def equal(label: str, value: str) -> str:
    """Alerts whose label has this value; an empty one is that of a label which is not there."""
    return f"{label}={_quoted(value)}"


def unequal(label: str, value: str) -> str:
    """Alerts whose label has another value."""
    return f"{label}!={_quoted(value)}"


def one_of(label: str, values: Iterable[str]) -> str:
    """Alerts whose label has one of these values."""
    anyone = "|".join(_SPECIAL.sub(r"\\\g<0>", value) for value in values)
    return f"{label}=~{_quoted(f'^({anyone})$')}"


def present(label: str) -> str:
    """Alerts that have the label."""
    return unequal(label, "")


def _quoted(text: str) -> str:
    """In double quotes, within which a backslash takes the meaning of what follows it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
