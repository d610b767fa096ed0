"""Label selectors as the Kubernetes API writes them: `a=b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Matches = Callable[[Labels], bool]

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def selector(text: str) -> Matches:
    """What a selector matches; an empty one matches all. Raises ValueError for one that cannot be read."""
    requirements = [_requirement(part.strip()) for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    return lambda labels: all(matches(labels) for matches in requirements)


def _requirement(text: str) -> Matches:
    if found := _SET.fullmatch(text):
        key, operator, values = found[1], found[2], {value.strip() for value in found[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(text):
        absent, key = found[1] == "!", found[2]
        return lambda labels: (key in labels) is not absent
    raise ValueError(f"unable to parse requirement: {text!r}")
