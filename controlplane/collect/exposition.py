"""The Prometheus text format and OpenMetrics, read for a few series out of many.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format and
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TypeAlias

from controlplane.domain.errors import MalformedPageError

Labels: TypeAlias = Mapping[str, str]
Page: TypeAlias = Mapping[str, list[tuple[Labels, float]]]

OPENMETRICS_END = "# EOF"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|\Z)\s*')
_BRACES = re.compile(r'\s*\{(?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+\}')
_ESCAPED = re.compile(r'\\([\\n"])')
_EXEMPLAR = " # {"
_FIRST = re.compile(r"\n[ \t\r]*+([^#\s][^\n]*)")
_HTML = re.compile(r"\s*+<")
_AFTER_NAME = frozenset(("{", " ", "\t", ""))
_SHOWN = 80
_LABELS_KEPT = 4096


class PageReader:
    """Reads the wanted series of one target's page, time after time.

    The label sets of its newest page are kept, up to a bound, so that those that come again cost no parsing.
    Samples that have the label `label`, with none of `values`, are passed over; not all of them, where the labels of a
    page are written in an unusual way.
    """

    def __init__(self, wanted: frozenset[str], label: str = "", values: Collection[str] = ()) -> None:
        names = _any_of(wanted)
        # One pass over the page: whatever does not begin with a wanted name is skipped to the next line.
        head = rf"\n[ \t]*({names})(?![a-zA-Z0-9_:])"
        if label:
            cared_for = "|".join(f'{re.escape(_escaped(value))}"' for value in sorted(values)) or "(?!)"
            head += rf'(?!\{{(?:[a-zA-Z0-9_]++="[^"\\\n]*+",)*{label}="(?!{cared_for}))'
        self._lines = re.compile(rf"{head}[ \t]*(?:({{[^\n]*)}})?([^\n]*)")
        self._known: dict[str, Labels] = {"": {}}

    def parse(self, text: str) -> Page:
        """The samples of the wanted series, by sample name, in the order of the page; without a sample: left out.

        Histogram and summary samples go by their full name (`x_bucket`, `x_sum`). Labels are shared between calls:
        read only. Timestamps and exemplars are passed over. Lines of other series are not looked at, except that the
        first sample of a page must be one, so that HTML and garbage are told from a page without the wanted series.
        Raises MalformedPageError, also for a page that ends within a line (cut short).
        """
        if _HTML.match(text):
            raise MalformedPageError("not a metrics page: it is HTML, as a login or an error page is")
        page = f"\n{text}"
        if not page.endswith(("\n", f"\n{OPENMETRICS_END}")):
            raise MalformedPageError("metrics page is cut short: its last line does not end")
        _check_first(page)
        known = self._known
        found: dict[str, list[tuple[Labels, float]]] = {}
        lines = self._lines.findall(page)
        for name, braced, value in lines:
            samples = found.get(name)
            if samples is None:
                samples = found[name] = []
            labels = known.get(braced)
            try:
                number = float(value)
            except ValueError:
                labels = None  # behind the value is a timestamp or an exemplar, or it is none
            if labels is None or "_" in value:
                samples.append(self._sample(page, name, braced, value))
            else:
                samples.append((labels, number))
        if len(known) > 2 * len(lines) + 1:
            self._known = {"": {}}  # most of them are of pages before
        return found

    def _sample(self, page: str, name: str, braced: str, value: str) -> tuple[Labels, float]:
        """One sample the long way: labels that are new, a timestamp, an exemplar."""
        rest = f"{braced}}}{value}" if braced else value
        try:
            own, labels, number = _read(rest)
        except ValueError:
            raise _no_sample(
                page, re.search(rf"\n[ \t]*{re.escape(name)}[ \t]*{re.escape(rest)}(?=\n)", page)
            ) from None
        if own and len(self._known) < _LABELS_KEPT:
            self._known[own] = labels
        return labels, number


def parse(text: str, wanted: frozenset[str]) -> Page:
    """A page that is read once: PageReader.parse."""
    return PageReader(wanted).parse(text)


def _check_first(page: str) -> None:
    """Raises MalformedPageError when the first line that is neither empty nor a comment is no sample."""
    first = _FIRST.search(page)
    if first is None:
        return
    name = _NAME.match(first[1])
    if name is None or first[1][name.end() : name.end() + 1] not in _AFTER_NAME:
        number = page.count("\n", 0, first.start(1))
        raise MalformedPageError(f"not a metrics page: line {number} is {first[1][:_SHOWN]!r}")
    try:
        _read(first[1][name.end() :])
    except ValueError:
        raise _no_sample(page, first) from None


def _no_sample(page: str, found: re.Match[str] | None) -> MalformedPageError:
    begin, line = (found.start() + 1, found[0].strip()) if found else (len(page), "")
    number = page.count("\n", 0, begin)
    return MalformedPageError(f"metrics page, line {number} is not a sample: {line[:_SHOWN]!r}")


def _read(rest: str) -> tuple[str, Labels, float]:
    """What follows a name: the text of its labels ("" without any), the labels, the value. Raises ValueError."""
    labels_text, labels = "", _labels("")
    braces = _BRACES.match(rest)
    if braces is not None:
        labels_text = braces[0][:-1]
        labels = _labels(labels_text.lstrip()[1:])
        rest = rest[braces.end() :]
    fields = rest.partition(_EXEMPLAR)[0]
    if "_" in fields:  # digits with underscores are numbers to Python only
        raise ValueError(rest)
    value, *timestamp = map(float, fields.split())
    if len(timestamp) > 1:
        raise ValueError(rest)
    return labels_text, labels, value


@lru_cache(maxsize=16384)
def _labels(text: str) -> Labels:
    """Labels between the braces, shared between the targets that have the same. Raises ValueError."""
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


def _any_of(names: Collection[str]) -> str:
    """A pattern of the names that looks at each character once, however many names there are: a prefix tree."""
    tree: dict[str, set[str]] = {}
    for name in names:
        tree.setdefault(name[:1], set()).add(name[1:])
    if not tree:
        return "(?!)"
    # the empty one last: the longest name is tried first
    branches = [f"{re.escape(first)}{_any_of(tree[first])}" if first else "" for first in sorted(tree, reverse=True)]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
