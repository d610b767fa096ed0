"""Selectors of counters as they are written in PromQL: https://prometheus.io/docs/prometheus/latest/querying/basics/"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from controlplane.domain.objectives import Selector

SELECTOR_FORM = 'a selector of cumulative counters such as http_requests_total{code!~"5.."}, alone or in sum()'
_STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`"
_MATCHER = rf"\s*[A-Za-z_]\w*\s*(?:=~|!~|!=|=)\s*(?:{_STRING})\s*"
_SELECTOR = re.compile(
    rf"(?P<metric>[A-Za-z_:][\w:]*)\s*(?:\{{(?P<matchers>(?:{_MATCHER}(?:,{_MATCHER})*,?)?)\s*\}})?", re.ASCII
)
_LABEL = re.compile(rf"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)\s*(?:{_STRING})", re.ASCII)
_GROUPING = r"(?:(?:by|without)\s*\([\w\s,]*\)\s*)?"
_SUM = re.compile(rf"sum\s*{_GROUPING}\(\s*(.*?)\s*\)\s*{_GROUPING}", re.ASCII | re.DOTALL | re.IGNORECASE)
_RATE = re.compile(r"\b([a-z_]*(?:rate|increase|delta))\s*\(", re.IGNORECASE)


def parse_selector(value: object) -> Selector:
    """The selector, without a sum around it: series are added up here, each with its own resets.

    Raises ValueError that says what is allowed.
    """
    text = value.strip() if isinstance(value, str) else ""
    outside = re.sub(_STRING, "", text)
    if rate := _RATE.search(outside):
        why = "differences are taken here, event by event and with the resets of each series"
        raise ValueError(f"the counter itself, without {rate[1]}(): {why}")
    if "[" in outside:
        raise ValueError(f"without a range: {SELECTOR_FORM}")
    summed = _SUM.fullmatch(text)
    found = _SELECTOR.fullmatch(summed[1] if summed else text)
    if found is None:
        raise ValueError(SELECTOR_FORM)
    return Selector(found[0], found["metric"], tuple(dict.fromkeys(_LABEL.findall(found["matchers"] or ""))))


CounterSelector = Annotated[
    Selector,
    BeforeValidator(parse_selector),
    PlainSerializer(lambda selector: selector.promql),
    WithJsonSchema({"type": "string", "format": "PromQL selector", "examples": ["http_requests_total"]}),
]
