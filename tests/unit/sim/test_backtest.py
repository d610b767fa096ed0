from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controlplane.cli.main import FAILED, OK, USAGE, execute
from controlplane.config import load_settings
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Mode
from controlplane.domain.objectives import SLICE_S, Slice
from controlplane.domain.ports import TickRecord
from controlplane.domain.state import PolicyState, TokenSums, WorkloadState
from controlplane.loop.clock import wall_clock
from controlplane.sim import past
from controlplane.store import open_store

CONFIG = """
store: sqlite:///{folder}/history.db
workloads:
  - {{name: chat, kind: vllm, kubernetes: {{namespace: serving, pods: app=chat}}, replicas: {{min: 1, max: 8}}}}
  - {{name: fixed, kind: vllm, kubernetes: {{namespace: serving, pods: app=fixed}}}}
models:
  - name: llama
    runs_on: [chat]
    mode: act
    objectives:
      - {{ttft: 1s, target: 99%}}
      - {{inter_token_latency: 50ms, target: 99%}}
"""
MINUTES = 50
GAP = range(20, 23)


def sums() -> TokenSums:
    """Busy minutes of replicas whose iteration takes 20 ms and 1 ms a request; 500 prompt and 100 output tokens."""
    found = TokenSums()
    products, totals = np.zeros((4, 4)), np.zeros(4)
    for running in (4.0, 8.0, 16.0, 24.0):
        # seconds: of an iteration by request, of a prompt
        by_token = 0.02 / running + 0.001
        requests = 1 / (100 * by_token + 500 * 0.0001)
        told = np.array([100 * requests / running, 100 * requests, 500 * requests, requests])
        products, totals = products + 5 * np.outer(told, told), totals + 5 * told
    return replace(found, products=tuple(products.ravel()), totals=tuple(totals), readings=20.0)


def decision(at: float, replicas: int) -> Decision:
    target = Target(loaded=True, instances=replicas)
    reason = Reason(ReasonCode.MODE)
    return Decision(f"d-{at}", at, "llama", "chat", Mode.ACT, Step.SCALE, target, target, (reason,), ReasonCode.MODE)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "controlplane.yaml"
    path.write_text(CONFIG.format(folder=tmp_path))
    open_store(load_settings(path).store_url).close()
    return path


def fill(config: Path, state: WorkloadState) -> None:
    """Fifty minutes that end now, with a gap of three; requests swing between 3 and 13 a second."""
    settings = load_settings(config)
    key = next(o.key for o in settings.fleet.models[0].objectives if o.key.startswith("ttft"))
    start = wall_clock() // 60 * 60 - 60 * MINUTES
    slices = tuple(
        Slice("llama", key, start + at, round(SLICE_S * (8 - 5 * np.cos(at / 400))), 0, 0, SLICE_S, SLICE_S, "v")
        for at in np.arange(0, 60 * MINUTES, SLICE_S).tolist()
        if at // 60 not in GAP
    )
    decisions = (decision(start - 60, 2), decision(start + 600, 5), decision(start + 1500, 3))
    store = open_store(settings.store_url)
    store.write_tick(TickRecord(start + 60 * MINUTES, slices, decisions, (), PolicyState({}, {"chat": state})))
    store.close()


def test_more_burn_costs_no_more_gaps_are_told_and_the_same_seed_gives_the_same(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(config, WorkloadState(tokens=sums(), startups=(40.0, 60.0)))
    page = tmp_path / "report.html"
    options = ["--config", str(config), "--since", "40m", "--planned-burn", "0.1", "--planned-burn", "20"]
    options += ["--max", "2", "--json", "--out", str(page)]
    assert execute(("backtest", *options)) == OK
    text = capsys.readouterr().out
    told = json.loads(text)
    runs = told["runs"]
    assert list(runs) == ["as configured", "planned_burn 0.1", "planned_burn 20", "max 2", "static", "decided"]
    assert runs["planned_burn 20"]["gpu_hours"] <= runs["as configured"]["gpu_hours"]
    assert runs["as configured"]["gpu_hours"] <= runs["planned_burn 0.1"]["gpu_hours"]
    assert runs["max 2"]["gpu_hours"] <= 2 * told["minutes"] / 60 + 0.01
    assert told["minutes"] - told["measured_minutes"] == len(GAP)
    assert (told["peak_replicas"], told["startup_s"]) == (5, 50.0)
    assert "500 prompt and 100 output tokens" in told["notes"][0]
    assert runs["static"]["actions"] == 0
    assert runs["decided"]["actions"] == 2
    assert "3 min were not" in page.read_text()
    assert execute(("backtest", *options)) == OK
    again = json.loads(capsys.readouterr().out)
    # the clock went on, the rest is the same
    if again["since"] == told["since"]:
        assert again == told


def test_what_was_not_measured_is_the_mean_of_its_neighbours() -> None:
    none = np.nan
    assert past.filled(np.array([none, 2.0, none, none, 4.0, none])).tolist() == [2.0, 2.0, 3.0, 3.0, 4.0, 4.0]


def test_replicas_are_those_that_were_learned(config: Path) -> None:
    workload = past.scaled(load_settings(config))
    found = past.learned(workload, WorkloadState(tokens=sums()), output_tokens=70)
    assert (found.prompt_tokens, found.output_tokens, found.target) == (500, 70, 0.99)
    assert found.serving.service.itl_base_s == pytest.approx(0.02, rel=0.05)  # type: ignore[attr-defined]
    assert found.serving.service.itl_per_running_s == pytest.approx(0.001, rel=0.05)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ((), FAILED, "the store holds no requests of that time"),
        (("--workload", "nobody"), FAILED, "nobody"),
        (("--workload", "fixed"), FAILED, "workload 'fixed' is not scaled"),
        (("--since", "1h", "--until", "2h"), USAGE, "less than --since, 1h, is allowed"),
        (("--since", "5m"), FAILED, "more than 10 min are allowed"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    options: tuple[str, ...], code: int, line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(("backtest", "--config", str(config), *options)) == code
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (WorkloadState(), "how fast a replica serves is not learned yet"),
        (WorkloadState(tokens=replace(sums(), totals=(1.0, 1.0, 1.0, 0.0))), "--prompt-tokens"),
        (WorkloadState(tokens=sums()), "--startup"),
    ],
)
def test_what_is_not_learned_is_named(
    state: WorkloadState, line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(config, state)
    assert execute(("backtest", "--config", str(config), "--since", "40m")) == FAILED
    assert line in capsys.readouterr().err
