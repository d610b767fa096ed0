"""The loop's picture as a metrics page. What is missing or stale has no sample: a zero would be a lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.fleet import Phase
from controlplane.domain.objectives import Judgement
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Missing, known
from controlplane.publish.families import FAMILIES
from controlplane.publish.figures import capacity, demand, desired_instances
from controlplane.publish.gpus import Sample, family, gpu_samples
from controlplane.publish.served import host_samples, served_samples


class PictureMetrics(Collector):
    """A prometheus_client collector over the loop's picture.

    Label values come from the configuration (models, servers, objectives), the servers that are there now and the GPUs,
    so the number of series is bounded by them. A decision older than `max_age_s` seconds exports nothing of its own.
    """

    def __init__(self, picture: Callable[[], Picture], max_age_s: float = 60.0) -> None:
        self._picture = picture
        self._max_age_s = max_age_s

    def describe(self) -> Iterable[Metric]:
        """All families, empty."""
        return [family(of) for of in FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """All families with their samples of now."""
        picture = self._picture()
        families = {of.name: family(of) for of in FAMILIES}
        for name, labels, value in self._samples(picture):
            if value is not None and not math.isnan(value):
                families[name].add_metric(labels, value)
        return list(families.values())

    def _samples(self, picture: Picture) -> Iterator[Sample]:
        yield from self._units(picture)
        for model in picture.fleet.models:
            for judgement in picture.judgements.get(model.name, ()):
                yield from _objective(judgement)
            for alert in picture.alerts.get(model.name, ()):
                labels = (alert.model, alert.objective, alert.severity.value)
                yield names.ALERT_FIRING, labels, float(alert.firing)
                yield names.ALERT_FROZEN, labels, float(alert.frozen != "")
                for reading in alert.readings:
                    yield names.ALERT_FACTOR, (*labels, format_duration(reading.window.long_s)), reading.factor
        yield from self._servers(picture)
        yield from _workloads(picture)
        gpus = known(picture.reading.gpus)
        yield from gpu_samples(gpus or ())
        yield from self._people(picture)
        yield from _loop(picture)

    def _units(self, picture: Picture) -> Iterator[Sample]:
        decisions = {(d.model, d.server): d for d in picture.decisions}
        for model in picture.fleet.models:
            for server in model.runs_on:
                unit = (model.name, server)
                seen = _model_reading(picture, *unit)
                if seen is not None:
                    yield names.MODEL_LOADED, unit, float(seen.state is ModelState.READY)
                    yield names.MODEL_INSTANCES, unit, known(seen.instances)
                    yield names.MODEL_PENDING, unit, known(seen.pending)
                    yield from served_samples(*unit, seen)
                decision = decisions.get(unit)
                wanted = desired_instances(decision, picture.at, self._max_age_s)
                yield names.MODEL_DESIRED_INSTANCES, unit, known(wanted)
                yield names.MODEL_DEMAND, unit, known(demand(decision, picture.at, self._max_age_s))
                yield names.MODEL_CAPACITY, unit, known(capacity(decision, picture.at, self._max_age_s))
                if decision is not None and picture.at - decision.at <= self._max_age_s:
                    yield names.MODEL_DECISION, (*unit, decision.step.value, decision.binding.value), 1.0
        for action in picture.in_flight:
            yield names.MODEL_IN_FLIGHT, (action.model, action.server, action.step.value), 1.0

    def _servers(self, picture: Picture) -> Iterator[Sample]:
        for spec in picture.fleet.servers:
            reading = picture.reading.servers.get(spec.name)
            if reading is None:
                continue
            live = known(reading.live)
            yield names.SERVER_LIVE, (spec.name,), None if live is None else float(live)
            yield from host_samples(spec.name, reading.host)
            if reading.read_at is not None:
                yield names.SERVER_READING_AGE, (spec.name,), max(0.0, picture.at - reading.read_at)

    def _people(self, picture: Picture) -> Iterator[Sample]:
        for model in picture.fleet.models:
            overrides = [o for o in picture.overrides if o.model == model.name]
            yield names.OVERRIDES_ACTIVE, (model.name,), float(len(overrides))
            for kind in sorted({o.kind for o in overrides}):
                expires = max(o.expires_at for o in overrides if o.kind is kind)
                yield names.OVERRIDE_EXPIRES, (model.name, kind.value), expires
        for name in ("", *(m.name for m in picture.fleet.models)):
            yield names.FREEZES_ACTIVE, (name or "*",), float(sum(f.model == name for f in picture.freezes))


def _model_reading(picture: Picture, model: str, server: str) -> ModelReading | None:
    entry = picture.reading.servers.get(server)
    return known(entry.models[model]) if entry is not None and model in entry.models else None


def _workloads(picture: Picture) -> Iterator[Sample]:
    for name, found in picture.workloads.items():
        members = known(found)
        yield names.WORKLOAD_LISTED, (name,), float(members is not None)
        for phase in Phase if members is not None else ():
            yield names.WORKLOAD_MEMBERS, (name, phase.value), float(sum(m.phase is phase for m in members or ()))
        if not isinstance(found, Missing):
            yield names.WORKLOAD_LISTING_AGE, (name,), max(0.0, picture.at - found.observed_at)


def _objective(judgement: Judgement) -> Iterator[Sample]:
    labels = (judgement.model, judgement.objective.key)
    yield names.OBJECTIVE_TARGET, labels, judgement.objective.target
    yield names.OBJECTIVE_ATTAINMENT, (*labels, "low"), judgement.attainment_low
    yield names.OBJECTIVE_ATTAINMENT, (*labels, "high"), judgement.attainment_high
    yield names.OBJECTIVE_BUDGET_LEFT, labels, judgement.budget_left
    yield names.OBJECTIVE_BURN_RATE, (*labels, "5m"), judgement.burn_5m
    yield names.OBJECTIVE_BURN_RATE, (*labels, "1h"), judgement.burn_1h
    yield names.OBJECTIVE_BURN_RATE, (*labels, "6h"), judgement.burn_6h
    yield names.OBJECTIVE_COVERAGE, labels, judgement.window.coverage
    yield names.OBJECTIVE_EXHAUSTED, (*labels, "1h"), judgement.exhausted_1h_s
    yield names.OBJECTIVE_EXHAUSTED, (*labels, "6h"), judgement.exhausted_6h_s


def _loop(picture: Picture) -> Iterator[Sample]:
    health = picture.health
    yield names.TICKS, (), health.ticks
    yield names.TICKS_SKIPPED, (), health.skipped
    yield names.TICKS_UNWRITTEN, (), health.unwritten
    yield names.TICKS_LOST, (), health.lost
    if health.last_tick_at:
        yield names.TICK_LAST, (), health.last_tick_at
        yield names.TICK_DURATION, (), health.last_tick_s
