"""What is known of the servers that lines tell: the port `Collector` without a connection to anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from controlplane.collect.metrics_source import ScrapedPage
from controlplane.collect.page_server import PageServer
from controlplane.collect.servers import scraped, server_reader
from controlplane.domain.errors import MalformedPageError, NotToldError
from controlplane.domain.fleet import Fleet, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading, LatencyInterval
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.shadow.line import ToldServer
from controlplane.shadow.readers import ToldTriton, ToldVllm

_NO_GPUS = Missing("lines tell no GPUs")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What reads one server, kept while `made_from` stays the same."""

    made_from: object
    page: ScrapedPage
    reader: PageServer


class LineCollector:
    """Implements the port `Collector` by what `absorb` is given; ages and times to keep as FleetCollector."""

    def __init__(self, *, max_age_s: float, keep_s: float) -> None:
        self._max_age_s, self._keep_s = max_age_s, keep_s
        self._entries: dict[str, _Entry] = {}
        self._ends_in_a_line_end = False

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        """As Collector."""
        models: dict[str, list[ModelSpec]] = {}
        for model in fleet.models:
            for name in model.runs_on:
                models.setdefault(name, []).append(model)
        before, self._entries = self._entries, {}
        for spec in fleet.servers:
            own, member = models.get(spec.name, []), fleet.members.get(spec.name)
            made_from = (spec, member.pod_uid if member else "", [(model.name, model.served_name) for model in own])
            here = before.get(spec.name)
            self._entries[spec.name] = (
                here if here is not None and here.made_from == made_from else self._entry(spec, own, made_from)
            )
        left = [entry.reader for name, entry in before.items() if self._entries.get(name) is not entry]
        return _reading(left, now)

    def _entry(self, spec: ServerSpec, models: list[ModelSpec], made_from: object) -> _Entry:
        page = scraped(spec, models)
        readers: Mapping[ServerKind, type[ToldVllm | ToldTriton]] = {
            ServerKind.VLLM: ToldVllm,
            ServerKind.TRITON: ToldTriton,
        }
        read = readers.get(spec.kind, server_reader)
        reader = read(spec, models, page, max_age_s=self._max_age_s, keep_s=self._keep_s)
        if not isinstance(reader, PageServer):
            raise TypeError(f"{spec.name}: a {spec.kind} is not read by its page alone")
        return _Entry(made_from, page, reader)

    def absorb(self, servers: Mapping[str, ToldServer], now: float) -> None:
        """Take in the pages of these servers, by the fleet's names. One that cannot be read is a missed reading."""
        self._ends_in_a_line_end |= any(told.page.endswith("\n") for told in servers.values())
        for name, told in servers.items():
            entry = self._entries.get(name)
            if entry is None:
                continue
            if isinstance(entry.reader, ToldTriton):
                entry.reader.instances, entry.reader.max_batch_size = told.instances, told.max_batch_size
                entry.reader.set_control(Known(ControlMode.EXPLICIT, now))
            try:
                entry.reader.absorb(entry.page.understood(now, self._whole(told.page)))
            except (MalformedPageError, NotToldError) as error:
                entry.reader.missed(now, error)

    def _whole(self, page: str) -> str:
        """The page with an end to its last line, which some write on none; where others have it, it was cut short."""
        if not page:
            raise NotToldError("the line has no page of it")
        return page if page.endswith("\n") or self._ends_in_a_line_end else f"{page}\n"

    def reading(self, now: float) -> FleetReading:
        """As Collector."""
        return _reading([entry.reader for entry in self._entries.values()], now)

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """As Collector. Nothing is asked: the next line tells."""

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """As Collector."""
        if server in self._entries:
            self._entries[server].reader.set_control(mode)

    async def close(self) -> None:
        """As Collector."""


def _reading(readers: Iterable[PageServer], now: float) -> FleetReading:
    servers = {}
    found: dict[str, list[LatencyInterval]] = {}
    for reader in readers:
        servers[reader.spec.name] = reader.reading(now)
        for model, intervals in reader.latencies().items():
            found.setdefault(model, []).extend(intervals)
    latencies = {model: tuple(sorted(intervals, key=lambda i: i.end)) for model, intervals in found.items()}
    return FleetReading(now, servers, latencies, {}, _NO_GPUS)
