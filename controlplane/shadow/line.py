"""One line that tells what there is, as values. Liberal in what it takes; what it cannot take it names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.errors import MalformedLineError
from controlplane.domain.fleet import Phase, ReplicaBounds, WorkloadSpec

_PHASES: Mapping[str, Phase | None] = {
    **dict.fromkeys(("starting", "pending", "loading", "creating"), Phase.STARTING),
    **dict.fromkeys(("ready", "running", "serving", "up"), Phase.READY),
    **dict.fromkeys(("terminating", "draining", "deleting", "stopping"), Phase.TERMINATING),
    **dict.fromkeys(("failed", "dead", "down"), None),
}
"""Words for where a server is in its life; None: it is none any more."""
_REPLICAS = ("replicas", "desired", "current")
_LATEST_S = 1e11
"""Later than that nothing is in unix seconds, though it may be in milliseconds."""
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ToldServer:
    """A server as the line tells it. `phase` None: it failed. Times are seconds, None: not told.

    `page` empty: its page could not be read. `instances` and `max_batch_size` are of each model on a Triton, whose page
    does not tell them.
    """

    name: str
    workload: str
    phase: Phase | None
    started_at: float | None = None
    ready_at: float | None = None
    page: str = ""
    instances: int = 1
    max_batch_size: int = 0


@dataclass(frozen=True, slots=True)
class ToldWorkload:
    """A workload as the line tells it: replicas that are asked for now, and bounds in place of the configured ones."""

    name: str
    replicas: int | None = None
    bounds: ReplicaBounds | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What is told at `now`. Workloads that are not in `workloads` are not told of: nothing of them changes."""

    now: float
    workloads: Mapping[str, ToldWorkload]
    servers: tuple[ToldServer, ...]

    def later(self, by_s: float) -> Line:
        """The same so many seconds later."""
        if not by_s:
            return self
        servers = (
            replace(
                server,
                started_at=None if server.started_at is None else server.started_at + by_s,
                ready_at=None if server.ready_at is None else server.ready_at + by_s,
            )
            for server in self.servers
        )
        return Line(self.now + by_s, self.workloads, tuple(servers))


def read_line(text: str, specs: Mapping[str, WorkloadSpec]) -> Line:
    """The line. Raises MalformedLineError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedLineError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedLineError(f"{_shown(document)} is not a JSON object")
    now = _seconds(document.get("now"), "now")
    if now is None:
        raise MalformedLineError("now: it is missing; seconds are allowed")
    told = document.get("workloads")
    workloads = {w.name: w for w in _workloads(specs if told is None else told, specs)}
    servers = tuple(_server(*entry, specs) for entry in _named(document.get("servers") or (), "servers"))
    seen: set[tuple[str, str]] = set()
    for server in servers:
        workloads.setdefault(server.workload, ToldWorkload(server.workload))
        if (server.workload, server.name) in seen:
            raise MalformedLineError(f"servers: {server.name!r} of {server.workload} is there twice")
        seen.add((server.workload, server.name))
    return Line(now, workloads, servers)


def _workloads(told: object, specs: Mapping[str, WorkloadSpec]) -> Iterator[ToldWorkload]:
    for path, entry in _named(told, "workloads"):
        spec = _spec(entry.get("name"), path, specs)
        counts = [_whole(entry.get(key), f"{path}.{key}") for key in _REPLICAS]
        replicas = next((count for count in counts if count is not None), None)
        yield ToldWorkload(spec.name, replicas, _bounds(entry, spec, path))


def _bounds(entry: Mapping[str, Any], spec: WorkloadSpec, path: str) -> ReplicaBounds | None:
    """Those of the line; what it leaves out is as configured."""
    least, most = (_whole(entry.get(key), f"{path}.{key}") for key in ("min", "max"))
    if least is None and most is None:
        return None
    usual = spec.replicas or ReplicaBounds(min(1, most or 1), max(1, most or least or 1))
    bounds = ReplicaBounds(usual.least if least is None else least, usual.most if most is None else most)
    if bounds.least > bounds.most:
        raise MalformedLineError(f"{path}: min {bounds.least} is above max {bounds.most}")
    return bounds


def _server(path: str, entry: Mapping[str, Any], specs: Mapping[str, WorkloadSpec]) -> ToldServer:
    spec = _spec(entry.get("workload"), f"{path}.workload", specs)
    name = entry.get("name")
    text = str(name) if isinstance(name, str | int) and not isinstance(name, bool) else ""
    if not (text and text.isprintable()):
        raise MalformedLineError(f"{path}.name: {_shown(name)} is not allowed; a text is")
    word = entry.get("state")
    state = word.strip().lower() if isinstance(word, str) else ""
    if state not in _PHASES:
        raise MalformedLineError(f"{path}.state: {_shown(word)} is not allowed; one of these is: {', '.join(_PHASES)}")
    return ToldServer(
        name=text.removeprefix(f"{spec.name}/"),
        workload=spec.name,
        phase=_PHASES[state],
        started_at=_seconds(entry.get("started_at"), f"{path}.started_at"),
        ready_at=_seconds(entry.get("ready_at"), f"{path}.ready_at"),
        page=_page(entry.get("page")),
        instances=_whole(entry.get("instances"), f"{path}.instances") or 1,
        max_batch_size=_whole(entry.get("max_batch_size"), f"{path}.max_batch_size") or 0,
    )


def _page(told: object) -> str:
    """The page; empty for what is none, halves of surrogate pairs among it."""
    if not isinstance(told, str) or not told.strip():
        return ""
    try:
        told.encode()
    except UnicodeEncodeError:
        return ""
    return told


def _named(told: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries of a list of names or objects, or of an object of them by name, each with where it stands."""
    if isinstance(told, Mapping):
        for name, value in told.items():
            given = value if isinstance(value, Mapping) else {"replicas": value} if isinstance(value, int) else {}
            yield f"{path}.{name}", {"name": name, **given}
        return
    if not isinstance(told, list | tuple):
        raise MalformedLineError(f"{path}: {_shown(told)} is not allowed; a list is")
    for index, value in enumerate(told):
        here = f"{path}[{index}]"
        if isinstance(value, str):
            yield here, {"name": value}
        elif isinstance(value, Mapping):
            yield here, value
        else:
            raise MalformedLineError(f"{here}: {_shown(value)} is not allowed; a name or an object is")


def _spec(name: object, path: str, specs: Mapping[str, WorkloadSpec]) -> WorkloadSpec:
    """The workload of that name; the only one where none is named."""
    if name is None and len(specs) == 1:
        return next(iter(specs.values()))
    if not isinstance(name, str) or name not in specs:
        raise MalformedLineError(f"{path}: {_shown(name)} is not configured; workloads are: {', '.join(specs)}")
    return specs[name]


def _seconds(value: object, path: str) -> float | None:
    """Seconds since 1970 or since any other beginning, or an ISO 8601 time."""
    if value is None:
        return None
    if isinstance(value, str):
        value = _moment(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LATEST_S:
        return float(value)
    raise MalformedLineError(f"{path}: {_shown(value)} is not allowed; seconds are")


def _moment(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        # the zone of this machine must not change an answer
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return text


def _whole(value: object, path: str) -> int | None:
    if value is None:
        return None
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not whole or value != int(value) or not 0 <= value <= 1_000_000:  # type: ignore[call-overload, operator]
        raise MalformedLineError(f"{path}: {_shown(value)} is not allowed; a whole number from 0 on is")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
