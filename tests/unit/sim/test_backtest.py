from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controlplane.cli.main import FAILED, OK, USAGE, execute
from controlplane.config import load_settings
from controlplane.decide.replicas import tokens
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.errors import PermanentError
from controlplane.domain.fleet import Mode
from controlplane.domain.objectives import SLICE_S, Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import BatchSum, PolicyState, Service, TokenSums, WorkloadState
from controlplane.loop import clock
from controlplane.sim import past
from controlplane.sim.serving import BatchServing, LlmServing
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
ITL = "      - {inter_token_latency: 50ms, target: 99%}\n"
NOW = 1_700_000_010.0
MINUTES = 40
GAP = range(20, 23)


def sums() -> TokenSums:
    """Busy minutes of replicas whose iteration takes 20 ms and 1 ms a request."""
    found = TokenSums()
    products, totals = np.zeros((4, 4)), np.zeros(4)
    for running, prompt, output in ((4.0, 500, 60), (8.0, 200, 100), (16.0, 500, 150), (24.0, 800, 100)):
        requests = 1 / (output * (0.02 / running + 0.001) + prompt * 0.0001 + 0.005)
        told = np.array([output * requests / running, output * requests, prompt * requests, requests])
        products, totals = products + 50 * np.outer(told, told), totals + 50 * told
    return replace(found, products=tuple(products.ravel()), totals=tuple(totals), readings=200.0)


def decision(at: float, replicas: int) -> Decision:
    target = Target(loaded=True, instances=replicas)
    reason = Reason(ReasonCode.MODE)
    return Decision(f"d-{at}", at, "llama", "chat", Mode.ACT, Step.SCALE, target, target, (reason,), ReasonCode.MODE)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(clock, "wall_clock", lambda: NOW)
    path = tmp_path / "controlplane.yaml"
    path.write_text(CONFIG.format(folder=tmp_path))
    open_store(load_settings(path).store_url).close()
    return path


def fill(config: Path, state: WorkloadState) -> None:
    """Forty minutes that end now, with a gap of three; requests swing between 3 and 13 a second."""
    settings = load_settings(config)
    key = next(o.key for o in settings.fleet.models[0].objectives if o.key.startswith("ttft"))
    start = NOW // 60 * 60 - 60 * MINUTES
    slices = tuple(
        Slice("llama", key, start + at, round(SLICE_S * (8 - 5 * np.cos(at / 400))), 0, 0, SLICE_S, SLICE_S, "v")
        for at in np.arange(0, 60 * MINUTES, SLICE_S).tolist()
        if at // 60 not in GAP
    )
    decisions = (decision(start - 60, 2), decision(start + 1320, 5), decision(start + 1800, 3))
    store = open_store(settings.store_url)
    store.write_tick(TickRecord(start + 60 * MINUTES, slices, decisions, (), PolicyState({}, {"chat": state})))
    store.close()


def test_more_burn_costs_no_more_gaps_are_told_and_the_same_seed_gives_the_same(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(config, WorkloadState({"llama": Service(sums())}, startups=(40.0, 60.0)))
    page = tmp_path / "report.html"
    options = ["--config", str(config), "--since", "25m", "--planned-burn", "0.1", "--planned-burn", "20"]
    options += ["--max", "2", "--json", "--out", str(page)]
    assert execute(("backtest", *options)) == OK
    told = json.loads(capsys.readouterr().out)
    runs = told["runs"]
    assert list(runs) == ["as configured", "planned_burn 0.1", "planned_burn 20", "max 2", "static", "decided"]
    assert runs["planned_burn 20"]["gpu_hours"] <= runs["as configured"]["gpu_hours"]
    assert runs["as configured"]["gpu_hours"] <= runs["planned_burn 0.1"]["gpu_hours"]
    assert runs["max 2"]["gpu_hours"] <= 2 * told["minutes"] / 60 + 0.01
    assert told["minutes"] - told["measured_minutes"] == len(GAP)
    assert (told["peak_replicas"], told["startup_s"]) == (5, 50.0)
    assert "prompt and" in told["notes"][0]
    assert runs["static"]["actions"] == 0
    assert runs["decided"]["actions"] == 2
    assert "3 min were not" in page.read_text()
    assert execute(("backtest", "--config", str(config), "--since", "25m", "--json")) == OK
    again = json.loads(capsys.readouterr().out)
    assert again == told | {"runs": {name: runs[name] for name in ("as configured", "static", "decided")}}


def test_what_was_not_measured_is_the_mean_of_its_neighbours() -> None:
    none = np.nan
    assert past.filled(np.array([none, 2.0, none, none, 4.0, none])).tolist() == [2.0, 2.0, 3.0, 3.0, 4.0, 4.0]


def test_replicas_are_those_that_were_learned(config: Path) -> None:
    workload = past.scaled(load_settings(config))
    found = past.learned(workload, WorkloadState({"llama": Service(sums())}), output_tokens=70)
    assert (found.output_tokens, found.target) == (70, 0.99)
    assert 400 < found.prompt_tokens < 600
    assert isinstance(found.serving, LlmServing)
    service = found.serving.service
    known = tokens.service(sums(), None)
    assert known is not None
    assert (service.itl_base_s, service.itl_per_running_s) == (known.base_s, known.per_running_s)
    assert (service.prefill_base_s, service.prefill_per_token_s) == (known.per_request_s, known.per_prompt_s)


def test_servers_that_batch_are_those_that_were_learned(config: Path) -> None:
    text = config.read_text().replace("kind: vllm", "kind: triton")
    text = text.replace("- {ttft: 1s, target: 99%}", "- {latency: 100ms, target: 98%, source: mean_slices}").replace(
        ITL, ""
    )
    config.write_text(text)
    sums = tuple(BatchSum(size, 2, 100.0, 100 * (0.004 + 0.002 * size)) for size in (1, 4, 8))
    found = past.learned(past.scaled(load_settings(config)), WorkloadState({"llama": Service(batches=sums)}))
    assert isinstance(found.serving, BatchServing)
    service = found.serving.service
    assert (service.max_batch, service.instances, found.target) == (8, 2, 0.98)
    assert (service.fixed_s, service.per_item_s) == pytest.approx((0.004, 0.002))
    slow = (BatchSum(1, 1, 100.0, 30.0),)
    with pytest.raises(PermanentError, match=r"no replica as learned answers within 0\.1 s"):
        past.learned(past.scaled(load_settings(config)), WorkloadState({"llama": Service(batches=slow)}))


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ((), FAILED, "the store holds no requests of that time"),
        (("--workload", "nobody"), FAILED, "nobody"),
        (("--workload", "fixed"), FAILED, "workload 'fixed' is not scaled"),
        (("--since", "1h", "--until", "2h"), USAGE, "less than --since, 1h, is allowed"),
        (("--out", "/nowhere/page.html"), USAGE, "a file in a folder that is there is allowed"),
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
        (WorkloadState({"llama": Service(replace(sums(), totals=(1.0, 1.0, 1.0, 0.0)))}), "--prompt-tokens"),
        (WorkloadState({"llama": Service(sums())}), "--startup"),
    ],
)
def test_what_is_not_learned_is_named(
    state: WorkloadState, line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(config, state)
    assert execute(("backtest", "--config", str(config), "--since", "25m")) == FAILED
    assert line in capsys.readouterr().err
