from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ReplicaBounds, ServerKind, ServerSpec
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.publish.metrics.page import PictureMetrics
from tests.discovery_fake import workload as a_workload
from tests.unit.api.fakes import FakePlane, ready, scale_up

NOW = 1_800_000_000.0
PAGE = (Path(__file__).parents[4] / "docs/reference/metrics.md").read_text(encoding="utf-8")
UNIT = {"model": "bert", "server": "t0"}

OBJECTIVE = Objective(Indicator.AVAILABILITY, 0.999, 86400.0, IndicatorSource.SERVER)
FLEET = Fleet(
    servers=(ServerSpec("t0", ServerKind.TRITON, "http://t0", "http://t0/metrics", "t0:1"),),
    models=(ModelSpec("bert", "bert", ("t0",), Mode.ACT, (OBJECTIVE,)),),
)


def picture_with(
    model: Signal[ModelReading] = ready(2, NOW),  # noqa: B008 - a frozen value
    live: Signal[bool] = Known(value=True, observed_at=NOW - 3),  # noqa: B008
) -> Picture:
    server = ServerReading("t0", live, Known(ControlMode.EXPLICIT, NOW), 1, {"bert": model, "stranger": model})
    decision = replace(scale_up(NOW - 5), server="t0")
    return Picture(
        NOW,
        FLEET,
        FleetReading(NOW, {"t0": server}, {}, {}, Missing("no driver")),
        decisions=(decision,),
        health=LoopHealth(ticks=7, skipped=2, last_tick_at=NOW - 5, last_tick_s=0.25, unwritten=1),
    )


def registry_of(picture: Picture) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PictureMetrics(lambda: picture))
    return registry


def series(registry: CollectorRegistry) -> set[str]:
    return {sample.name for family in registry.collect() for sample in family.samples}


def test_what_is_known_is_exported() -> None:
    registry = registry_of(picture_with())
    for name, value in (
        ("controlplane_model_loaded", 1.0),
        ("controlplane_model_instances", 2.0),
        ("controlplane_model_pending_requests", 3.0),
        ("controlplane_model_desired_instances", 4.0),
        ("controlplane_model_demand_per_second", 41.5),
        ("controlplane_model_capacity_per_second", 44.0),
    ):
        assert registry.get_sample_value(name, UNIT) == value, name
    decided = UNIT | {"step": "set_instances", "binding": "demand"}
    assert registry.get_sample_value("controlplane_model_decision", decided) == 1.0
    assert registry.get_sample_value("controlplane_server_live", {"server": "t0"}) == 1.0
    assert registry.get_sample_value("controlplane_server_reading_age_seconds", {"server": "t0"}) == 0.0
    assert registry.get_sample_value("controlplane_ticks_total") == 7.0
    assert registry.get_sample_value("controlplane_ticks_skipped_total") == 2.0
    assert registry.get_sample_value("controlplane_ticks_unwritten") == 1.0


@pytest.mark.parametrize(
    "model", [Missing("refused"), Stale(ready(2, NOW).value, NOW - 99, 99.0)], ids=["missing", "stale"]
)
def test_a_missing_or_stale_model_has_no_sample_rather_than_zero(model: Signal[ModelReading]) -> None:
    names = series(registry_of(picture_with(model)))
    assert not {n for n in names if n in ("controlplane_model_loaded", "controlplane_model_instances")}
    assert "controlplane_model_pending_requests" not in names


def test_a_server_that_is_known_to_be_down_is_zero_and_one_that_is_not_known_is_nothing() -> None:
    down = registry_of(picture_with(live=Known(value=False, observed_at=NOW)))
    assert down.get_sample_value("controlplane_server_live", {"server": "t0"}) == 0.0
    stale = series(registry_of(picture_with(live=Stale(value=True, observed_at=NOW - 60, age_s=60.0))))
    assert "controlplane_server_live" not in stale


def test_a_server_is_as_old_as_what_was_read_of_it_and_not_as_the_last_attempt() -> None:
    def age_s(live: Signal[bool], model: Signal[ModelReading]) -> float | None:
        registry = registry_of(picture_with(model, live))
        return registry.get_sample_value("controlplane_server_reading_age_seconds", {"server": "t0"})

    down, unread = Known(value=False, observed_at=NOW), Missing("never read")
    assert age_s(down, ready(2, NOW - 40)) == 40.0
    assert age_s(Stale(value=True, observed_at=NOW - 60, age_s=60.0), unread) == 60.0
    assert age_s(down, unread) is None
    assert age_s(unread, unread) is None


def test_an_unloaded_model_is_known_not_to_be_loaded() -> None:
    unloaded = Known(ModelReading(ModelState.UNLOADED, instances=Known(0, NOW)), NOW)
    registry = registry_of(picture_with(unloaded))
    assert registry.get_sample_value("controlplane_model_loaded", UNIT) == 0.0


def test_figures_of_an_old_decision_are_not_exported() -> None:
    picture = picture_with()
    names = series(registry_of(replace(picture, decisions=(replace(picture.decisions[0], at=NOW - 61),))))
    assert "controlplane_model_demand_per_second" not in names
    assert "controlplane_model_desired_instances" not in names
    assert "controlplane_model_decision" not in names


def test_models_that_are_not_configured_make_no_series() -> None:
    assert b"stranger" not in generate_latest(registry_of(picture_with()))


def test_a_loop_that_never_ticked_has_no_time_of_its_last_tick() -> None:
    names = series(registry_of(replace(picture_with(), health=LoopHealth())))
    assert "controlplane_tick_last_timestamp_seconds" not in names
    assert "controlplane_ticks_total" in names


def test_shares_that_are_not_known_have_no_sample() -> None:
    judgement = Judgement("bert", OBJECTIVE, Counts(0, 0, 0, 30, 120), None, None, None, None, 2.5, None)
    registry = registry_of(replace(picture_with(), judgements={"bert": (judgement,)}))
    labels = {"model": "bert", "objective": "availability_server"}
    assert registry.get_sample_value("controlplane_objective_coverage_ratio", labels) == 0.25
    assert registry.get_sample_value("controlplane_objective_burn_rate", labels | {"window": "1h"}) == 2.5
    assert registry.get_sample_value("controlplane_objective_burn_rate", labels | {"window": "5m"}) is None
    assert "controlplane_objective_attainment_ratio" not in series(registry)


def test_overrides_and_freezes_are_counted_and_say_when_they_end() -> None:
    override = Override("ov-1", "bert", OverrideKind.PIN, "ann", "x", NOW, NOW + 60, 2)
    scaled = Override("ov-2", "", OverrideKind.REPLICAS, "ann", "x", NOW, NOW + 90, 3, workload="w")
    freeze = Freeze("fr-1", "", FreezeDirection.ALL, "ann", "x", NOW, NOW + 60)
    held = Freeze("fr-2", "", FreezeDirection.NO_UP, "ann", "x", NOW, NOW + 30, "w")
    picture = picture_with()
    spec = replace(a_workload(), replicas=ReplicaBounds(1, 9))
    picture = replace(picture, fleet=replace(picture.fleet, workloads=(spec,)))
    registry = registry_of(replace(picture, overrides=(override, scaled), freezes=(freeze, held)))

    def told(name: str, model: str, workload: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"controlplane_{name}", {"model": model, "workload": workload} | labels)

    assert told("overrides_active", "bert", "") == told("overrides_active", "", "w") == 1.0
    assert told("override_expires_timestamp_seconds", "bert", "", kind="pin") == NOW + 60
    assert told("override_expires_timestamp_seconds", "", "w", kind="replicas") == NOW + 90
    assert told("freezes_active", "*", "") == told("freezes_active", "", "w") == 1.0
    assert told("freezes_active", "bert", "") == 0.0
    assert told("freeze_expires_timestamp_seconds", "*", "", direction="all") == NOW + 60
    assert told("freeze_expires_timestamp_seconds", "", "w", direction="no_up") == NOW + 30


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[CollectorRegistry]:
    """The registry as the composition root fills it."""
    plane = FakePlane(tmp_path)
    retrying = RetryingActuator(DryRunActuator.__new__(DryRunActuator), plane.registry, clock=lambda: 0.0)
    MeteredActuator(retrying, plane.registry)
    yield plane.registry
    plane.close()


def test_the_reference_lists_every_family_and_no_other(whole: CollectorRegistry) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \| (.+) \|$", PAGE, re.MULTILINE)
    listed = {name: (kind, what) for name, kind, _, what in rows}
    served = {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation)
        for family in whole.collect()
    }
    assert listed == served


def test_the_reference_lists_the_labels(whole: CollectorRegistry) -> None:
    labels = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, ]*) \|", PAGE, re.MULTILINE))
    samples = [sample for family in whole.collect() for sample in family.samples]
    seen = {sample.name: ", ".join(sample.labels) for sample in samples if not sample.name.endswith("_created")}
    assert len(seen) > 15
    assert {name: labels[name] for name in seen} == seen
