"""The probes of the fleet: which model is probed on which server, at work while both are there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from controlplane.collect.http import Pages
from controlplane.collect.page_server import PageServer
from controlplane.collect.probes.completion import CompletionProbe
from controlplane.collect.probes.prober import Prober
from controlplane.collect.probes.triton import TritonProbe
from controlplane.collect.triton.server import TritonServer
from controlplane.domain.fleet import Fleet, ModelSpec, Phase, ProbeSpec
from controlplane.domain.observation import ProbeResult

Reader: TypeAlias = TritonServer | PageServer
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Probe:
    """One prober and its task, None before it was started. It is kept while the reader and the spec are the same."""

    prober: Prober
    sender: TritonProbe | CompletionProbe
    reader: Reader
    spec: ProbeSpec
    task: asyncio.Task[None] | None = None


class Probing:
    """Probes every model that wants it on every server that is up, as far as is known; results are kept `keep_s`.

    A discovered server that is starting, draining or terminating gets no users' requests, and so none of ours.
    """

    def __init__(self, pages: Pages, clock: Callable[[], float], keep_s: float) -> None:
        self._pages = pages
        self._clock = clock
        self._keep_s = keep_s
        self._probes: dict[tuple[str, str], _Probe] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self, fleet: Fleet, readers: Mapping[str, Reader], now: float) -> dict[str, tuple[ProbeResult, ...]]:
        """Probe on these servers from now on; gives the results, by model, of the probes that end with that."""
        before, self._probes = self._probes, {}
        for model in fleet.models:
            for name in model.runs_on if model.probe else ():
                reader, member = readers.get(name), fleet.members.get(name)
                up = member is None or member.phase is Phase.READY
                if model.probe and up and reader is not None:
                    key = (name, model.name)
                    here = before.get(key)
                    if here is None or here.reader is not reader or here.spec != model.probe:
                        here = self._probe(reader, model, model.probe)
                    self._probes[key] = here
        ended = [probe for key, probe in before.items() if self._probes.get(key) is not probe]
        for probe in ended:
            self._stop(probe)
        return _by_model(ended, now)

    async def ask(self, server: str, model: str, version: str) -> str:
        """What is wrong with the answer of a version of a model; empty: nothing, or it is not probed."""
        probe = self._probes.get((server, model))
        if probe is None or not isinstance(probe.sender, TritonProbe):
            return ""
        sent = await probe.sender.send_to(version)
        return sent.error if sent is not None else "it is not there"

    def _probe(self, reader: Reader, model: ModelSpec, spec: ProbeSpec) -> _Probe:
        unit = reader.units[model.name]
        sender = (
            TritonProbe(reader, model, spec, pages=self._pages, clock=self._clock)
            if isinstance(reader, TritonServer)
            else CompletionProbe(reader, model, spec, pages=self._pages, clock=self._clock)
        )
        prober = Prober(
            sender,
            model.name,
            reader.spec.name,
            every_s=spec.every_s,
            failures=unit.failures,
            clock=self._clock,
            keep_s=self._keep_s,
        )
        return _Probe(prober, sender, reader, spec)

    def start(self) -> None:
        """Begin with those that are not at work: new ones, and those that a fault of ours has ended."""
        for (server, model), probe in self._probes.items():
            if probe.task is None or probe.task.done():
                probe.task = asyncio.create_task(probe.prober.run(), name=f"probe {model} on {server}")
                probe.task.add_done_callback(_log_end)

    def results(self, now: float) -> dict[str, tuple[ProbeResult, ...]]:
        """The recent past by model, oldest first."""
        return _by_model(self._probes.values(), now)

    async def close(self) -> None:
        """Stop."""
        for probe in self._probes.values():
            self._stop(probe)
        self._probes = {}
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _stop(self, probe: _Probe) -> None:
        if probe.task is not None:
            probe.task.cancel()
            self._ending.add(probe.task)
            probe.task.add_done_callback(self._ending.discard)


def _by_model(probes: Iterable[_Probe], now: float) -> dict[str, tuple[ProbeResult, ...]]:
    found: dict[str, list[ProbeResult]] = {}
    for probe in probes:
        found.setdefault(probe.prober.model, []).extend(probe.prober.results(now))
    return {model: tuple(sorted(results, key=lambda result: result.at)) for model, results in found.items()}


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()):
        _log.error("probing ended unexpectedly", task=task.get_name(), exc_info=fault)
