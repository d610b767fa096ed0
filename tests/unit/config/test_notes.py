"""Alerts that could never fire are told, with what stands in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.cli.main import execute
from controlplane.config import parse_settings
from controlplane.config.notes import notes
from tests.unit.config.test_objectives import SERVERS


def configuration(target: str, window: str = "28d") -> str:
    return (
        f"servers: [{SERVERS['triton']}]\n"
        f"models: [{{name: m, runs_on: [t], objectives: [{{availability: {target}, window: {window}}}]}}]\n"
    )


def told(target: str, window: str = "28d") -> list[str]:
    return list(notes(parse_settings(configuration(target, window), {})))


@pytest.mark.parametrize("target", ["95%", "99%", "99.9%"])
def test_usual_targets_need_no_note(target: str) -> None:
    assert told(target) == []


def test_a_page_that_ninety_percent_could_never_fire_is_told_with_its_repaired_factor() -> None:
    (note,) = told("90%")
    assert note == (
        "model m, availability_server: at 90% the burn rate is at most 10, so the usual factors would need"
        " more than 80% bad events or could not fire at all; page over 1h fires above 8 in place of 13.4"
    )


def test_short_windows_are_told_of_too() -> None:
    (note,) = told("50%", "2h")
    assert "page over 30m fires above 1.6 in place of 2" in note


PROMETHEUS = "prometheus: [{name: slow, url: http://p:9090, interval: 5m, timeout: 10s}]\n"
SERVED = """\
models:
  - {name: m, runs_on: [t], objectives: [{availability: 99%, window: 1d}]}
  - {name: asked, runs_on: [t], objectives: [{ratio: {prometheus: slow, total: a, bad: b}, name: orders, target: 99%}]}
"""


def test_alerts_of_objectives_whose_sources_tell_late_are_told_and_no_others() -> None:
    text = f"{PROMETHEUS}servers: [{SERVERS['triton']}]\n{SERVED}"
    (note,) = notes(parse_settings(text, {}))
    assert note == (
        "model asked, ratio_orders_prometheus: its sources tell up to 5m15s late, so its alerts fire and end that"
        " much later, and go by the last 5m15s in place of 5m"
    )


CONSOLE = "console_url: 'http://c:8900'"


def of_alerts(alerts: str) -> list[str]:
    return list(notes(parse_settings(f"{configuration('99%')}alerts: {{{alerts}}}\n", {})))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("alert: {alertname: ErrorBudgetBurn}", "direction no_down lets it have more"),
        ("alert: {severity: page}, direction: no_up", "direction no_down lets it have more"),
        ("alert: {model: m}", "direction no_down lets it have more"),
        ("alert: {alertname: Watchdog}, direction: no_down", "for good: Watchdog always fires"),
        ("alert: {severity: info}", "for good: Watchdog always fires"),
        ("alert: {alertname: Power}, for: 59s", "for 59s, under a minute"),
        ("alert: {alertname: Power}, for: 31d", "for 31d, over 30 days"),
    ],
)
def test_a_freeze_that_can_hardly_be_meant_is_told(rule: str, said: str) -> None:
    (note,) = of_alerts(f"{CONSOLE}, freezes: [{{{rule}}}]")
    assert note.startswith("alerts.freezes[0]: it freezes ")
    assert said in note


@pytest.mark.parametrize(
    "rule",
    [
        "alert: {alertname: DatacenterMaintenance}, for: 1m",
        "alert: {alertname: ErrorBudgetBurn}, direction: no_down",
        "alert: {alertname: ErrorBudgetBurn, model: other}",
        "alert: {severity: page, cluster: a}, for: 30d",
    ],
)
def test_a_freeze_that_is_meant_needs_no_note(rule: str) -> None:
    assert of_alerts(f"{CONSOLE}, freezes: [{{{rule}}}]") == []


def test_freezes_that_do_nothing_are_told() -> None:
    rules = "freezes: [{alert: {a: b}}, {alert: {c: d}}, {alert: {a: b}, for: 30m}]"
    assert of_alerts(f"{CONSOLE}, {rules}") == ["alerts.freezes[2]: the same as alerts.freezes[0]"]
    assert "without `alerts.console_url`" in of_alerts(rules)[0]


def test_a_webhook_of_slack_in_clear_is_told_without_its_secret() -> None:
    (note,) = of_alerts("watchdog: {webhook: 'https://hooks.slack.com/services/T0/s3cret'}")
    assert note.startswith("alerts.watchdog: a webhook of hooks.slack.com in clear")
    assert "s3cret" not in note


def test_check_prints_notes_and_calls_the_file_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "controlplane.yaml"
    file.write_text(configuration("90%"), encoding="utf-8")
    assert execute(["check", str(file)]) == 0
    first, note = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ok; ")
    assert note.startswith("note: model m, availability_server")
    assert execute(["check", str(file), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 1


def test_a_workload_whose_servers_nothing_finds_is_told() -> None:
    text = "workloads: [{name: w, kind: vllm, replicas: {min: 1, max: 4}}]"
    (note,) = notes(parse_settings(text, {}))
    assert note == "workload w: nothing finds its servers, so that only `controlplane decide` can use it"


def of_mig(mig_mode: str, mode: str = "act", profiles: str = "{1g.10gb: 5}") -> list[str]:
    text = (
        f"mode: {mode}\n"
        f"mig: {{mode: {mig_mode}, token_file: /t, models: [{{name: small, memory_gib: 6, profiles: {profiles}}}]}}\n"
        "agents: [{name: node-a, url: 'http://node-a:8901/metrics'}]\n"
        "servers: [{name: v0, kind: vllm, http: 'http://node-a:9000'}]\n"
        "models: [{name: small, runs_on: [v0]}]\n"
    )
    return list(notes(parse_settings(text, {})))


@pytest.mark.parametrize(("mode", "said"), [("recommend", []), ("act", ["v0 unreachable"])])
def test_copies_that_come_and_go_on_servers_of_a_fixed_list_are_told(mode: str, said: list[str]) -> None:
    found = of_mig(mode)
    assert len(found) == len(said)
    assert all(part in note for part, note in zip(said, found, strict=True))


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_gpus_that_are_cut_though_the_whole_does_not_act_are_told(mode: str) -> None:
    first, *_ = of_mig("act", mode)
    assert first.startswith(f"mig: it acts, though `mode` is {mode}: ")
    assert "`mig.mode: recommend`" in first
    assert of_mig("recommend", mode) == []


@pytest.mark.parametrize(("profiles", "count"), [("{}", 1), ("{1g.10gb: 0}", 1), ("{1g.10gb: 0, whole: 9}", 0)])
def test_a_model_of_which_nothing_tells_what_a_copy_serves_is_told(profiles: str, count: int) -> None:
    found = of_mig("recommend", profiles=profiles)
    assert len(found) == count
    assert all("nothing tells what a copy of small serves" in note for note in found)
    assert of_mig("observe", profiles=profiles) == []


def test_a_model_is_told_of_which_a_copy_takes_more_gpus_than_that_on_which_it_is_planned() -> None:
    text = (
        "mig: {mode: recommend, models: [{name: large, memory_gib: 18, profiles: {whole: 9}}]}\n"
        "workloads: [{name: w, kind: vllm, gpus_per_replica: 4, kubernetes: {namespace: ml, pods: app=w}}]\n"
        "models: [{name: large, runs_on: [w]}]\n"
    )
    (note,) = notes(parse_settings(text, {}))
    assert note.startswith("mig: a copy of large is planned on one whole GPU, though a replica of w has 4: ")
    assert list(notes(parse_settings(text.replace("_replica: 4", "_replica: 1"), {}))) == []
