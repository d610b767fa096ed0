from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from controlplane.config import parse_settings
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.expected import Announced, Schedule

CONFIGURATION = """
workloads:
  - name: chat
    kind: vllm
    kubernetes: {{namespace: ml, pods: app=chat}}
    {replicas}
    schedules: [{workload}]
servers: [{{name: t, kind: triton, http: "http://t:8000", grpc: "t:8001", metrics: "http://t:8002/metrics"}}]
models:
  - {{name: bert, runs_on: [t], instances: {{min: 1, max: 8}}, schedules: [{model}]}}
  - {{name: llm, runs_on: [chat]}}
events: [{events}]
"""


def configuration(
    workload: str = "", model: str = "", events: str = "", replicas: str = "replicas: {min: 1, max: 6}"
) -> str:
    return CONFIGURATION.format(workload=workload, model=model, events=events, replicas=replicas)


def faults(**written: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(configuration(**written), {})
    return {fault.path: f"{fault.value}: {fault.allowed}" for fault in caught.value.faults}


def test_schedules_and_events_are_taken_as_written() -> None:
    fleet = parse_settings(
        configuration(
            workload='{cron: "0 8 * * mon-fri", timezone: Europe/Berlin, lasts: 10h, min: 4}',
            model='{cron: "30 7 1 * *", lasts: 2h, min: 3}',
            events="{name: sale, workload: chat, start: 2026-11-27T08:00:00Z, end: 2026-11-28T00:00+01:00, factor: 3},"
            ' {name: launch, model: bert, start: "2026-12-01T09:00", end: 1796119200, rate: 50/s}',
        ),
        {},
    ).fleet
    assert fleet.workloads[0].schedules == (Schedule("0 8 * * mon-fri", ZoneInfo("Europe/Berlin"), 36_000.0, 4),)
    assert fleet.models[0].schedules == (Schedule("30 7 1 * *", ZoneInfo("UTC"), 7200.0, 3),)
    sale, launch = fleet.announced
    start, end = (datetime(2026, 11, 27, hour, tzinfo=UTC).timestamp() for hour in (8, 23))
    assert sale == Announced("sale", "sale", "chat", start, end, 3.0)
    assert (launch.subject, launch.per_s, launch.actor) == ("bert", 50.0, "configuration")
    assert launch.start_s == datetime(2026, 12, 1, 9, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("cron", ["0 8 * *", "0 25 * * *", "0 8 * * 1-5", "0 8 * * montag", "every day", "0 8 * * * *"])
def test_what_is_no_cron_schedule_is_refused(cron: str) -> None:
    told = faults(workload=f'{{cron: "{cron}", lasts: 1h, min: 2}}')
    assert "days of the week by name" in told["workloads[0].schedules[0].cron"]


@pytest.mark.parametrize("cron", ["0 0 30 feb *", "0 8 31 4,6,9,11 *"])
def test_a_schedule_that_never_comes_is_refused(cron: str) -> None:
    told = faults(workload=f'{{cron: "{cron}", lasts: 1h, min: 2}}')
    assert "a day that comes" in told["workloads[0].schedules[0].cron"]
    parse_settings(configuration(workload='{cron: "0 8 29 feb mon", lasts: 1h, min: 2}'), {})


def test_every_fault_of_schedules_is_told() -> None:
    cron = 'cron: "0 8 * * *"'
    told = faults(
        workload=f"{{{cron}, lasts: 1h, min: 7}}, {{{cron}, lasts: 8d, min: 2}}",
        model=f"{{{cron}, lasts: 1h, min: 9}}",
    )
    assert told == {
        "workloads[0].schedules[0].min": "7: at most replicas.max, 6",
        "workloads[0].schedules[1].lasts": "'8d': 1m to 7d",
        "models[0].schedules[0].min": "9: at most instances.max, 8",
    }
    told = faults(workload=f"{{{cron}, timezone: Mars/Base, lasts: 0s, min: 0}}")
    assert set(told) == {f"workloads[0].schedules[0].{key}" for key in ("timezone", "lasts", "min")}
    assert (
        "only together with replicas"
        in faults(workload=f"{{{cron}, lasts: 1h, min: 2}}", replicas="")["workloads[0].schedules"]
    )


def test_every_fault_of_events_is_told() -> None:
    times = "start: 2026-11-27T08:00Z, end: 2026-11-28T00:00Z"
    told = faults(
        events=f"{{name: x, {times}, factor: 2}}, {{name: z, model: bert, workload: chat, {times}, factor: 2}},"
        f" {{name: b, model: chat, {times}, factor: 2}}, {{name: c, model: bert, {times}}},"
        " {name: d, model: bert, start: 2026-11-28T08:00Z, end: 2026-11-28T00:00Z, rate: 1/s},"
        f" {{name: c, model: bert, {times}, factor: 2}},"
        f" {{name: e, model: bert, {times}, factor: 1}}, {{name: f, model: bert, start: noon, end: 5, rate: 1/s}}"
    )
    assert told["events[0]"] == "nothing: exactly one of: model, workload"
    assert told["events[1]"] == "model and workload: exactly one of: model, workload"
    assert "events[3] has it already" in told["events[5].name"]
    assert "the name of a model" in told["events[2].model"]
    assert told["events[3]"] == "nothing: at least one of: factor, rate"
    assert told["events[4].end"] == "2026-11-28T00:00:00+00:00: later than start"
    assert {"events[6].factor", "events[7].start"} <= set(told)
