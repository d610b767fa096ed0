"""How servers, workloads and the control plane itself are doing, as samples."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.fleet import Phase
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Missing, known
from controlplane.publish.metrics.gpus import Sample
from controlplane.publish.metrics.served import host_samples
from controlplane.version import VERSION


def server_samples(picture: Picture) -> Iterator[Sample]:
    """Of the servers that are there now."""
    for spec in picture.fleet.servers:
        for read, result in ((True, "ok"), (False, "failed")):
            yield names.SERVER_READS, (spec.name, result), picture.totals.reads.get((spec.name, read))
        reading = picture.reading.servers.get(spec.name)
        if reading is None:
            continue
        live = known(reading.live)
        yield names.SERVER_LIVE, (spec.name,), None if live is None else float(live)
        yield from host_samples(spec.name, reading.host)
        if reading.read_at is not None:
            yield names.SERVER_READING_AGE, (spec.name,), max(0.0, picture.at - reading.read_at)


def workload_samples(picture: Picture) -> Iterator[Sample]:
    """Of what the discoveries find."""
    for name, found in picture.workloads.items():
        members = known(found)
        yield names.WORKLOAD_LISTED, (name,), float(members is not None)
        for phase in Phase if members is not None else ():
            yield names.WORKLOAD_MEMBERS, (name, phase.value), float(sum(m.phase is phase for m in members or ()))
        if not isinstance(found, Missing):
            yield names.WORKLOAD_LISTING_AGE, (name,), max(0.0, picture.at - found.observed_at)
    for name, scaling in picture.fleet.scaling.items():
        yield names.WORKLOAD_UNSCHEDULED, (name,), float(len(scaling.unscheduled))
        yield names.WORKLOAD_OWNED, (name,), float(scaling.owner != "")


def condition_samples(picture: Picture) -> Iterator[Sample]:
    """1 for everything that is wrong now."""
    for one in picture.conditions:
        labels = (one.alert.value, one.model, one.objective, one.workload, one.server, one.node, one.gpu)
        yield names.CONDITION, (*labels, one.kind, one.cause), 1.0


def loop_samples(picture: Picture) -> Iterator[Sample]:
    """Of the loop."""
    health = picture.health
    yield names.BUILD_INFO, (VERSION,), 1.0
    yield names.TICKS, (), health.ticks
    yield names.TICKS_SKIPPED, (), health.skipped
    yield names.TICKS_UNWRITTEN, (), health.unwritten
    yield names.TICKS_LOST, (), health.lost
    yield names.TICK_INTERVAL, (), health.interval_s or None
    yield names.TICK_LATENESS, (), health.late_s
    yield names.LEADING, (), float(health.leading)
    yield names.LEADER_EPOCH, (), health.epoch or None
    yield names.TAKEOVERS, (), health.takeovers
    yield names.STORE_FAILING, (), None if health.store_failing is None else float(health.store_failing)
    if health.last_tick_at:
        yield names.TICK_LAST, (), health.last_tick_at
        yield names.TICK_DURATION, (), health.last_tick_s
