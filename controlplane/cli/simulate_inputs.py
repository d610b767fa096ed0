"""What a person types to `controlplane simulate`, made into what is simulated, or a fault that names the option."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.domain.errors import ConfigurationError, Fault, PermanentError

if TYPE_CHECKING:
    from controlplane.sim.loads import Before
    from controlplane.sim.serving import Serving
    from controlplane.sim.trace import Load

_SLOW_FIRST_TOKEN = {"reasoning": "5s"}
"""Traces on which prefill alone takes some requests more than the usual 1 s."""


def serving_of(service: str, trace: str, ttft: str, itl: str, latency: str) -> Serving:
    """Replicas of vLLM or Triton, by the name of what was measured, and their objective; "": what is usual."""
    from controlplane.sim.peers.perf_model import LatencySlo, Slo
    from controlplane.sim.service import BATCH_SERVICES, LLM_SERVICES
    from controlplane.sim.serving import BATCH_SERVICE, LLM_SERVICE, BatchServing, LlmServing
    from controlplane.sim.trace import FUNCTIONS

    has_tokens = not trace.startswith(FUNCTIONS)
    service = service or (LLM_SERVICE if has_tokens else BATCH_SERVICE)
    if service in BATCH_SERVICES:
        return BatchServing(BATCH_SERVICES[service], LatencySlo(seconds("--latency", latency)))
    if service not in LLM_SERVICES or not has_tokens:
        known = (*LLM_SERVICES, *BATCH_SERVICES) if has_tokens else tuple(BATCH_SERVICES)
        raise not_allowed("--service", service, f"one of these is allowed on this trace: {', '.join(known)}")
    ttft = ttft or _SLOW_FIRST_TOKEN.get(trace, "1s")
    return LlmServing(LLM_SERVICES[service], Slo(seconds("--ttft", ttft), seconds("--itl", itl)))


def load_of(trace: str, since: str, until: str, burst: float | None) -> tuple[Load, Before]:
    """The trace, or a part of it, and what came before the part."""
    from controlplane.sim.loads import load_part
    from controlplane.sim.trace import FUNCTIONS

    since_s = seconds("--since", since) if since else None
    until_s = seconds("--until", until) if until else None
    if until_s is not None and until_s <= (since_s or 0.0):
        raise not_allowed("--until", until, f"later than --since, {since or 0}, is allowed")
    if trace.startswith(FUNCTIONS):
        for option, text, at_s in (("--since", since, since_s), ("--until", until, until_s)):
            if at_s is not None and at_s % 60:
                raise not_allowed(option, text, "whole minutes are allowed on functions")
        if burst is not None and not 0 < burst < float("inf"):
            raise not_allowed("--burst", str(burst), "above 0 is allowed")
    elif burst is not None:
        raise not_allowed("--burst", str(burst), f"it goes with --trace {FUNCTIONS}NAME, whose arrivals are drawn")
    return load_part(trace, since_s, until_s, burst or 1.0)


@contextmanager
def sim_extra() -> Iterator[None]:
    """Raises PermanentError where the simulator's libraries are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PermanentError(f"the extra [sim] is not installed: {error.name} is missing") from None


def check_folder(out: Path | None) -> None:
    """Raises ConfigurationError where a page could not be written, before it is made."""
    if out is not None and not out.absolute().parent.is_dir():
        raise not_allowed("--out", str(out), "a file in a folder that is there is allowed")


def names_of(policy: str, known: Sequence[str]) -> list[str]:
    """Of policies, by comma; "": all that are known."""
    names = [name.strip() for name in policy.split(",") if name.strip()] or list(known)
    for name in names:
        if name not in known:
            raise not_allowed("--policy", name, f"these are allowed, by comma: {', '.join(known)}")
    return list(dict.fromkeys(names))


def seconds(option: str, text: str) -> float:
    """Of a duration. Raises ConfigurationError naming the option."""
    from controlplane.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise not_allowed(option, text, str(error)) from None


def not_allowed(option: str, value: str, allowed: str) -> ConfigurationError:
    """The fault of one option."""
    return ConfigurationError("command line", (Fault(option, value, allowed),))


def write(path: Path, text: str) -> None:
    """A page to a file. Raises PermanentError where it cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from None
