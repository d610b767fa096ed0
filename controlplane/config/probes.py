"""One probe as written: its checks, and the domain's value."""

from __future__ import annotations

import json
from collections.abc import Iterator

from controlplane.config.faults import join
from controlplane.config.model_items import ProbeBlock
from controlplane.config.units import format_duration
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import COMPLETIONS, ProbeSpec, ServerKind

PROBED = COMPLETIONS | {ServerKind.TRITON}
"""Kinds of servers that can be probed."""
_FORMS = {True: ("prompt", "messages"), False: ("inputs",)}


def check_probe(probe: ProbeBlock, kind: ServerKind | None, path: str) -> Iterator[Fault]:
    """Faults of meaning of a model's probe; `kind` is that of its servers, None: not sure."""
    if probe.timeout > probe.every:
        allowed = f"at most probe.every ({format_duration(probe.every)})"
        yield Fault(join(path, "timeout"), format_duration(probe.timeout), allowed)
    if kind is None:
        return
    if kind not in PROBED:
        names = ", ".join(sorted(kind.value for kind in PROBED))
        yield Fault(path, "this key", f"only for models on: {names}")
        return
    forms = _FORMS[kind in COMPLETIONS]
    if probe.body and not json.loads(probe.body).keys() & set(forms):
        yield Fault(join(path, "body"), "this request", f"one with {' or '.join(forms)} on kind {kind.value}")
    if probe.token_file is not None and kind not in COMPLETIONS:
        yield Fault(join(path, "token_file"), "this key", f"not on kind {kind.value}; leave it out")


def tells_ttft(probe: ProbeBlock) -> bool:
    """Whether the time to the first token is seen, since the answer is streamed."""
    return not probe.body or json.loads(probe.body).get("stream") is True


def to_probe(probe: ProbeBlock) -> ProbeSpec:
    """The domain's probe."""
    return ProbeSpec(probe.every, probe.timeout, probe.body or "", probe.token_file or "")
