"""Every duration and number has a least and a most, in the form, the schema and the reference alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from controlplane.config import parse_settings, schema
from controlplane.config.bounds import LEAST, MOST, Window, Within
from controlplane.config.mapping_file import MappingFile
from controlplane.config.profile_file import PROFILE_FILES
from controlplane.config.reference import reference
from controlplane.config.tree import Root
from controlplane.config.units import Duration, parse_duration, parse_memory, parse_rate
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.objectives import Period

SERVED = """
servers: [{name: t, kind: triton, http: "http://a", grpc: "a:1", metrics: "http://a/m"}]
"""


def forms(tree: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every form in a schema, also of entries of lists and mappings, by its block and key."""
    for name, block in {"": tree, **tree.get("$defs", {})}.items():
        for key, field in block.get("properties", {}).items():
            entries = [*field.get("anyOf", ()), field.get("items", {}), field.get("additionalProperties", {})]
            for form in (field, *(entry for entry in entries if isinstance(entry, dict))):
                yield f"{name}.{key}", form


def test_nothing_has_a_form_without_bounds() -> None:
    trees = [schema(), MappingFile.model_json_schema(), *(file.model_json_schema() for file in PROFILE_FILES.values())]
    durations, numbers = set(), set()
    for where, form in (found for tree in trees for found in forms(tree)):
        if form.get("format") in {"duration", "window"}:
            durations.add(where)
            assert {LEAST, MOST} <= form.keys(), where
            assert parse_duration(form[LEAST]) < parse_duration(form[MOST]), where
        elif form.get("type") in ("integer", "number"):
            numbers.add(where)
            assert "maximum" in form, where
            assert form.keys() & {"minimum", "exclusiveMinimum"}, where
    assert len(durations) > 30
    assert len(numbers) > 40


@pytest.mark.parametrize(("least", "most"), [(0.1, 600.0), (3600.0, 90 * 86400.0)])
def test_both_bounds_are_allowed_and_nothing_beyond(least: float, most: float) -> None:
    within = Within(least, most)
    assert [within.check(value) for value in (least, most, Period.MONTH)] == [least, most, Period.MONTH]
    for value in (least * 0.999, most * 1.001):
        with pytest.raises(ValueError, match=f"^{within.write(least)} to {within.write(most)}$"):
            within.check(value)


def test_all_that_is_beyond_reason_is_told_at_once_with_what_is_allowed() -> None:
    text = f"""
scrape: {{interval: 1ms, timeout: 100000d}}
decide: {{interval: 1d}}
leader: {{lease: 999ms}}
policy: {{scale_down_after: 1ms, max_step_up: 10001, settle: 2d, quantile_normal: 1%, planned_burn: 0}}
act: {{changes_per_min: 1000000000, circuit_pause: 10ms}}
{SERVED}
prometheus: [{{name: p, url: "http://p", timeout: 1h, interval: 2d}}]
workloads:
  - {{name: w, kind: vllm, kubernetes: {{namespace: n, pods: a=b}}, gpus_per_replica: 99999}}
models:
  - name: m
    runs_on: [t]
    priority: 99999999999
    idle_unload: 1y
    probe: {{every: 1ms, timeout: 1ms}}
    objectives: [{{latency: 1w, target: 99%, source: probe}}, {{throughput: 1000000000000/s, target: 99%}}]
events: [{{name: e, model: m, start: 0, end: 1, factor: 1e9}}]
quota: {{gpus: -1, by_gpu: {{h100: -1}}}}
"""
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(text, {})
    found = {fault.path: f"{fault.value}: {fault.allowed}" for fault in raised.value.faults}
    assert found == {
        "scrape.interval": "'1ms': 100ms to 10m",
        "scrape.timeout": "'100000d': 10ms to 10m",
        "decide.interval": "'1d': 100ms to 1h",
        "leader.lease": "'999ms': 1s to 10m",
        "policy.scale_down_after": "'1ms': 1s to 1d",
        "policy.max_step_up": "10001: less than or equal to 10000",
        "policy.settle": "'2d': 1s to 1d",
        "policy.quantile_normal": "'1%': 50% to 99.99%",
        "policy.planned_burn": "0: greater than or equal to 0.01",
        "act.changes_per_min": "1000000000: less than or equal to 100000",
        "act.circuit_pause": "'10ms': 1s to 1d",
        "prometheus[0].timeout": "'1h': 10ms to 10m",
        "prometheus[0].interval": "'2d': 100ms to 1h",
        "workloads[0].gpus_per_replica": "99999: less than or equal to 1024",
        "models[0].priority": "99999999999: less than or equal to 1000000",
        "models[0].idle_unload": "'1y': a duration above 0 with its unit, such as 100ms, 5s, 1m30s, 2h, 28d",
        "models[0].probe.every": "'1ms': 100ms to 1d",
        "models[0].probe.timeout": "'1ms': 10ms to 10m",
        "models[0].objectives[0].latency": "'1w': 0.1ms to 1d",
        "models[0].objectives[1].throughput": "'1000000000000/s': a number above 0 per second, minute or hour, such as"
        " 50/s, 3000/m; 0.000001/s to 1000000000/s",
        "events[0].factor": "'1e9': less than or equal to 1000",
        "quota.gpus": "-1: greater than or equal to 0",
        "quota.by_gpu.h100": "-1: greater than or equal to 0",
    }


def test_the_reference_tells_the_bounds() -> None:
    page = reference()
    assert "| `interval` | duration, 100ms to 10m | `5s` |" in page
    assert "| `window` | window, 1h to 90d | `28d` |" in page
    assert "| `quantile_normal` | share, 50% to 99.99% | `90%` |" in page
    assert "| `factor` | number, above 1 and at most 1000 |" in page
    assert "| `by_gpu` | names and numbers, 0 to 1000000 |" in page


def test_defaults_are_within_bounds() -> None:
    Root.model_validate(Root(mig=None).model_dump(mode="json", exclude={"mig", "keda", "grafana", "quota"}))


def test_a_window_of_the_calendar_has_no_bounds() -> None:
    assert TypeAdapter(Window).validate_python("quarter") is Period.QUARTER
    with pytest.raises(ValidationError, match="1h to 90d"):
        TypeAdapter(Window).validate_python("59m")


def test_what_is_longer_than_a_century_larger_than_a_machine_or_rarer_than_that_is_refused() -> None:
    assert TypeAdapter(Duration).validate_python("100000d") == 100000 * 86400.0
    with pytest.raises(ValueError, match=r"^at most 36500d$"):
        parse_duration("100000d")
    for parse, value, form in (
        (parse_memory, "1025TiB", "1024TiB"),
        (parse_rate, "0.0000001/s", "0.000001/s"),
        (parse_rate, "0/s", "above 0"),
    ):
        with pytest.raises(ValueError, match=form):
            parse(value)
    assert parse_memory("1024TiB") == 2**50
    assert parse_rate("0.000001/s") == 1e-6
