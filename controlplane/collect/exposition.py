"""The Prometheus text format, read for a few series out of many.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from controlplane.domain.errors import MalformedPageError

Labels: TypeAlias = Mapping[str, str]
Page: TypeAlias = Mapping[str, list[tuple[Labels, float]]]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|\Z)\s*')
_ESCAPED = re.compile(r'\\([\\n"])')
_EXEMPLAR = " # {"
_SHOWN = 80


def parse(text: str, wanted: frozenset[str]) -> Page:
    """The samples of the wanted series, by sample name, in the order of the page; names without a sample are left out.

    Histogram and summary samples go by their full name (`x_bucket`, `x_sum`). Labels are shared between calls: read
    only. Lines of other series are not looked at, except that the first sample of a page must be one, so that HTML and
    garbage are told from a page without the wanted series. Raises MalformedPageError, also for a page that ends within
    a line (cut short).
    """
    if text and not text.endswith("\n"):
        raise MalformedPageError("metrics page is cut short: its last line does not end")
    found: dict[str, list[tuple[Labels, float]]] = {}
    checked = False
    for number, line in enumerate(text.split("\n"), start=1):
        brace = line.find("{")
        name = (line[:brace] if brace >= 0 else line.partition(" ")[0].partition("\t")[0]).strip()
        if name in wanted:
            found.setdefault(name, []).append(_sample(line, brace, number))
        if not checked and line.strip() and name[:1] != "#":
            if not _NAME.match(name):
                raise MalformedPageError(f"not a metrics page: line {number} is {line[:_SHOWN]!r}")
            _sample(line, brace, number)
            checked = True
    return found


def _sample(line: str, brace: int, number: int) -> tuple[Labels, float]:
    """Labels and value of one sample line whose labels begin at `brace` (-1: it has none)."""
    try:
        return _read(line, brace)
    except ValueError:
        exemplar = line.rfind(_EXEMPLAR)
        if exemplar > brace >= 0:
            return _sample(line[:exemplar], brace, number)
        raise MalformedPageError(f"metrics page, line {number} is not a sample: {line[:_SHOWN]!r}") from None


def _read(line: str, brace: int) -> tuple[Labels, float]:
    end = line.rindex("}", brace) if brace >= 0 else -1
    labels = _labels(line[brace + 1 : end]) if brace >= 0 else _labels("")
    fields = line[end + 1 :].split() if brace >= 0 else line.split()[1:]
    value, *timestamp = map(float, fields)
    if len(timestamp) > 1:
        raise ValueError(line)
    return labels, value


@lru_cache(maxsize=16384)
def _labels(text: str) -> Labels:
    """Labels between the braces. The same texts come again with every scrape. Raises ValueError."""
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None or match[1] in labels:
            if not text[position:].strip():
                break
            raise ValueError(text)
        value = match[2]
        labels[match[1]] = _ESCAPED.sub(_unescape, value) if "\\" in value else value
        position = match.end()
    return labels


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
