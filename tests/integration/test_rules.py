"""The rules that `controlplane rules` writes: what a real Prometheus records by them is what the store says."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from controlplane.cli.main import execute
from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.objectives import SLICE_S, Counts, Slice
from controlplane.domain.observation import FleetReading
from controlplane.domain.picture import Picture, Totals
from controlplane.domain.records import TickRecord
from controlplane.domain.signal import Missing
from controlplane.domain.state import PolicyState
from controlplane.publish.alerting.rules import RECORDING_FILE, files
from controlplane.publish.metrics.families import FAMILIES
from controlplane.publish.metrics.objectives import objective_samples
from controlplane.slo.burn import certain_burn, factors, wilson_low
from controlplane.store import SqlStore, open_store
from tests.prometheus_fixtures import RealPrometheus
from tests.prometheus_past import Scrapes
from tests.unit.publish.alerting.rules.histories import LOOSE, STRICT, settings_of

MINUTE_S, HOUR_S = 60.0, 3600.0
NOW = time.time() // HOUR_S * HOUR_S  # noqa: TID251 - a real Prometheus keeps what is near its own time
SINCE = NOW - 8 * HOUR_S
EVERY_S, GRACE_S = 15.0, 20.0
SETTINGS = settings_of({"bert": [STRICT], "llama": [LOOSE]})
OBJECTIVES = {"bert": STRICT, "llama": LOOSE}
RESTART, HANDOVER = NOW - 2.5 * HOUR_S, NOW - 10 * MINUTE_S
"""The control plane begins anew; another one leads from then on."""
PAIRS = [pair.window for pair in factors(STRICT) if pair.window.long_s <= 6 * HOUR_S]
WINDOWS_S = sorted({length_s for window in PAIRS for length_s in (window.long_s, window.short_s)})
RECORDED_S = 12 * MINUTE_S


def slices(model: str, seed: int) -> list[Slice]:
    """Busy and idle hours with failures; for half an hour nothing was measured."""
    chance = random.Random(seed)  # noqa: S311 - a made-up history
    found = []
    for at in range(int((NOW - SINCE) / SLICE_S)):
        start = SINCE + at * SLICE_S
        hour = (NOW - start) / HOUR_S
        measured = not 1.2 < hour < 1.7
        busy = 0 if 3.0 < hour < 3.5 or not measured else 60 if hour % 2 < 1 else 4
        came = chance.randint(0, busy)
        bad = sum(chance.random() < (0.3 if hour < 0.4 else 0.02) for _ in range(came))
        of = OBJECTIVES[model]
        told = SLICE_S if measured else 0.0
        found.append(Slice(model, of.key, start, came - bad, bad, 0, told, SLICE_S, of.version, bad // 2))
    return found


@pytest.fixture(scope="module")
def history() -> dict[str, list[Slice]]:
    return {model: slices(model, seed) for seed, model in enumerate(OBJECTIVES)}


@pytest.fixture(scope="module")
def store(history: dict[str, list[Slice]]) -> Iterator[SqlStore]:
    opened = open_store("sqlite://")
    told = tuple(each for of_model in history.values() for each in of_model)
    opened.write_tick(TickRecord(NOW, told, (), (), PolicyState()))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def recording(prometheus_binary: str, history: dict[str, list[Slice]]) -> Iterator[RealPrometheus]:
    """A Prometheus that scraped the control plane for hours, and recorded by its rules at the end of them."""
    home = Path(tempfile.mkdtemp(prefix="cp-rules-"))
    made = RealPrometheus(prometheus_binary, home)
    try:
        made.remember(scraped(history))
        made.start()
        for rules in in_turn(files(SETTINGS)[RECORDING_FILE]):
            made.record(rules, NOW - RECORDED_S, NOW)
        yield made
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)


def scraped(history: dict[str, list[Slice]]) -> str:
    """What the page of the control plane told at each scrape of its objectives."""
    labels = {family.name: family.labels for family in FAMILIES}
    scrapes = Scrapes()
    totals = {model: Counts() for model in history}
    told = dict.fromkeys(history, 0)
    starts = iter((RESTART, HANDOVER, NOW + HOUR_S))
    anew, instance = next(starts), "cp-0:8900"
    for at in (SINCE + 7.0 + step * EVERY_S for step in range(int((NOW - SINCE) / EVERY_S))):
        if at > anew:
            instance = "cp-1:8900" if anew == HANDOVER else instance
            totals, anew = {model: Counts() for model in history}, next(starts)
        for model, of_model in history.items():
            # what is told at the first scrape of a process was counted since it began
            while told[model] < len(of_model) and of_model[told[model]].start + SLICE_S + GRACE_S <= at:
                totals[model] += counts_of(of_model[told[model] : told[model] + 1])
                told[model] += 1
        counted = {(model, OBJECTIVES[model].key): total for model, total in totals.items()}
        picture = Picture(
            at, SETTINGS.fleet, FleetReading(at, {}, {}, {}, Missing("no GPUs here")), totals=Totals(objectives=counted)
        )
        page = ""
        for name, values, value in objective_samples(picture):
            pairs = ",".join(f'{label}="{text}"' for label, text in zip(labels[name], values, strict=True))
            page += f"{name}_total{{{pairs}}} {value}\n"
        scrapes.page(at, page, job="controlplane", instance=instance)
    return scrapes.openmetrics()


def in_turn(text: str) -> list[str]:
    """The rules in an order in which each is recorded after those that it reads, for they are evaluated alike."""
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    turns: list[list[dict[str, str]]] = [[], [], []]
    for rule in rules:
        reads = [names.RECORDED_ERRORS in rule["expr"], names.RECORDED_EVENTS in rule["expr"], True]
        turns[2 - reads.index(True)].append(rule)
    assert all(turns)
    return [yaml.safe_dump({"groups": [{"name": "turn", "interval": "60s", "rules": turn}]}) for turn in turns]


def counts_of(found: Sequence[Slice]) -> Counts:
    return sum((Counts(s.good, s.bad, s.unsure, s.measured_s, s.expected_s, s.bad_capacity) for s in found), Counts())


def near(history: Sequence[Slice], moments: Sequence[float]) -> Counts:
    """What happened so close to these that it may have been told before or after: a slice, its grace and a scrape."""
    late_s = SLICE_S + GRACE_S + EVERY_S
    return counts_of([s for s in history if any(abs(s.start - moment) <= late_s for moment in moments)])


@pytest.mark.parametrize("window_s", WINDOWS_S, ids=format_duration)
@pytest.mark.parametrize("model", OBJECTIVES)
def test_the_rules_and_the_store_agree_on_the_same_history(
    recording: RealPrometheus, store: SqlStore, history: dict[str, list[Slice]], model: str, window_s: float
) -> None:
    """But for what lies at the ends of a window or of a process, and for a scrape's time that is extrapolated."""
    objective = OBJECTIVES[model]

    def recorded(name: str) -> dict[float, float]:
        labels = f'{{model="{model}",objective="{objective.key}"}}'
        return recording.past(f"{name}{format_duration(window_s)}{labels}", NOW, RECORDED_S)

    long = window_s >= HOUR_S
    all_events, all_bad, all_shares = map(recorded, (names.RECORDED_EVENTS, names.RECORDED_BAD, names.RECORDED_ERRORS))
    judged = recorded(names.RECORDED_LEAST_ERRORS if long else names.RECORDED_COVERAGE)
    assert len(all_events) > RECORDED_S / MINUTE_S - 3
    for at, events in all_events.items():
        bad = all_bad[at]
        counts = store.counts(model, objective.key, at - window_s, at)
        ends = [at - window_s, at, *(moment for moment in (RESTART, HANDOVER) if at - window_s < moment < at)]
        unsure = near(history[model], ends)
        stretched = 2 * EVERY_S / window_s
        most_events = unsure.events + stretched * counts.events
        most_bad = unsure.bad + stretched * counts.bad
        assert events == pytest.approx(counts.events, abs=most_events)
        assert bad == pytest.approx(counts.bad, abs=most_bad)
        burn = all_shares[at] / (1 - objective.target)
        assert burn == pytest.approx(bad / events / (1 - objective.target), rel=1e-9)
        if long:
            # the ends weigh little there
            assert burn == pytest.approx(certain_burn(objective, counts), rel=0.1)
            assert judged[at] == pytest.approx(wilson_low(bad, events), rel=1e-9)
        else:
            assert judged[at] == pytest.approx(
                counts.coverage, abs=len(ends) * (SLICE_S + GRACE_S + EVERY_S) / window_s
            )


def test_what_was_measured_of_fifteen_minutes_is_recorded_too(recording: RealPrometheus) -> None:
    for row in recording.samples(f"{names.RECORDED_COVERAGE}15m", NOW):
        assert float(row["value"][1]) == pytest.approx(1.0)


CONFIGURATION = """
store: sqlite:///cp.db
servers: [{name: v, kind: vllm, http: "http://v:8000"}]
models: [{name: llama, runs_on: [v], mode: observe, objectives: [{availability: 90%}]}]
alerts: {escalation: everybody, teams: [{name: everybody, page: [{webhook: "http://pager"}]}]}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "controlplane.yaml"
    file.write_text(CONFIGURATION)
    return file


def test_the_command_writes_what_it_then_finds_as_it_should_be(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "alerts"
    command = ["rules", "--config", str(configuration), "--out", str(out)]
    assert execute([*command, "--check", "--json"]) == 1
    before = json.loads(capsys.readouterr().out)
    assert (before["ok"], before["differing"]) == (False, before["files"])
    assert not out.exists()
    assert execute([*command, "--check"]) == 1
    assert f"{out / 'alerts.yml'}: is missing\n" in capsys.readouterr().out
    assert execute([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"] == [str(out / name) for name in ("rules.yml", "alerts.yml", "alertmanager.yml")]
    assert "in place of 13.4" in told["notes"][0]
    assert {str(path) for path in out.iterdir()} == set(told["written"])
    assert (out / "alerts.yml").stat().st_mode & 0o777 == 0o644
    assert execute([*command, "--check"]) == 0
    assert capsys.readouterr().out.count("as it should be") == 3
    (out / "alerts.yml").write_text("groups: []\n")
    assert execute([*command, "--check"]) == 1
    captured = capsys.readouterr()
    assert f"{out / 'alerts.yml'}: differs" in captured.out
    assert f"run `controlplane rules --out {out}`" in captured.err
    assert execute([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [str(out / "alerts.yml")]


def test_a_folder_that_cannot_be_written_is_named(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert execute(["rules", "--config", str(configuration), "--out", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: is a file, and a folder is needed" in capsys.readouterr().err
