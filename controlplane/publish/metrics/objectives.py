"""Objectives, their events and their burn alerts as samples."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.objectives import Counts, Judgement
from controlplane.domain.picture import Picture
from controlplane.publish.metrics.gpus import Sample


def objective_samples(picture: Picture) -> Iterator[Sample]:
    """Of every objective that is configured. Its counters begin with 0 at the first tick, so that none is missed."""
    for model in picture.fleet.models:
        for judgement in picture.judgements.get(model.name, ()):
            yield from _judged(judgement)
        for objective in model.objectives:
            counted = picture.totals.objectives.get((model.name, objective.key))
            if counted is not None:
                yield from _counted((model.name, objective.key), counted)
        for alert in picture.alerts.get(model.name, ()):
            labels = (alert.model, alert.objective, alert.severity.value)
            yield names.ALERT_FIRING, labels, float(alert.firing)
            yield names.ALERT_FROZEN, labels, float(alert.frozen != "")
            for reading in alert.readings:
                yield names.ALERT_FACTOR, (*labels, format_duration(reading.window.long_s)), reading.factor


def _counted(labels: tuple[str, str], counts: Counts) -> Iterator[Sample]:
    for result, events in (("good", counts.good), ("bad", counts.bad), ("unsure", counts.unsure)):
        yield names.OBJECTIVE_EVENTS, (*labels, result), events
    yield names.OBJECTIVE_BAD_OF_CAPACITY, labels, counts.bad_capacity
    yield names.OBJECTIVE_MEASURED_S, labels, counts.measured_s
    yield names.OBJECTIVE_EXPECTED_S, labels, counts.expected_s


def _judged(judgement: Judgement) -> Iterator[Sample]:
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
