"""What lines tell is decided on by the production tick, and missing pages never lower anything."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from controlplane.config import parse_settings
from controlplane.domain.errors import ConfigurationError, MalformedLineError
from controlplane.shadow.session import Session
from tests.shadow_lines import CONFIG, LINE_S, Fleet, conversation

Answer = Callable[[str], Mapping[str, Any]]
Open = Callable[..., Answer]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sessions; each is closed in the end."""
    sessions: list[Session] = []
    with asyncio.Runner() as runner:

        def answers(config: str = CONFIG) -> Answer:
            session = Session(parse_settings(config, {}))
            sessions.append(session)
            return lambda text: runner.run(session.answer(text))

        yield answers
        for session in sessions:
            session.close()


def busy(answer: Answer, per_s: float = 40.0, lines: int = 40) -> tuple[Fleet, int]:
    """A fleet whose load has been learned, and how many replicas it has by now."""
    fleet = Fleet(lambda _: per_s, replicas=4)
    *_, last = conversation(fleet, answer, lines)
    return fleet, last["desired"]["llama"]


def test_missing_pages_never_lower_for_hours(opened: Open) -> None:
    answer = opened()
    fleet, replicas = busy(answer)
    assert replicas > 2
    for step in range(72):
        line = fleet.line()
        page = (None, "", "401 Unauthorized", "<html></html>", "up 1\n", "# nothing\n")[step // 12]
        line["servers"] = [{**server, "page": page} for server in line["servers"]]
        answered = answer(json.dumps(line))
        assert answered["desired"]["llama"] >= replicas, page
        fleet.now += 180.0
    assert answered["reasons"]["llama"][0]["code"] == "data_missing"


def test_one_missing_page_takes_no_replica_away(opened: Open) -> None:
    answer = opened()
    fleet, replicas = busy(answer)
    fleet._load = lambda _: 1.0
    for _ in range(60):
        line = fleet.line()
        line["servers"][0]["page"] = None
        assert answer(json.dumps(line))["desired"]["llama"] >= replicas
        fleet.follow(len(line["servers"]))


def test_no_numbers_are_no_zero(opened: Open) -> None:
    answer = opened()
    fleet, replicas = busy(answer)
    for _ in range(60):
        line = fleet.line()
        for server in line["servers"]:
            server["page"] = re.sub(r"^(vllm:\S+) .*$", r"\1 Nan", str(server["page"]), flags=re.MULTILINE)
        assert answer(json.dumps(line))["desired"]["llama"] >= replicas
        fleet.follow(len(line["servers"]))


def test_a_page_may_be_as_simple_as_a_simulator_writes_it(opened: Open) -> None:
    plain = (
        "vllm:num_requests_running {running}\nvllm:num_requests_waiting 0\nvllm:request_success_total {served}\n"
        "vllm:prompt_tokens_total {prompt}\nvllm:generation_tokens_total {generation}"
    )
    answer = opened()
    for step in range(60):
        served = 300.0 * step
        page = plain.format(running=6, served=served, prompt=500 * served, generation=100 * served)
        server = {"name": "a", "state": "ready", "page": page}
        answered = answer(json.dumps({"now": 15.0 * step, "servers": [server]}))
    codes = [reason["code"] for reason in answered["reasons"]["llama"]]
    assert "replica_demand" in codes
    assert answered["reasons"]["llama"][0]["numbers"]["arrivals_per_s"] == pytest.approx(20.0)


def test_a_router_is_no_engine(opened: Open) -> None:
    answer = opened()
    for step in range(4):
        page = f'vllm:num_requests_running{{server="a"}} {step}\nvllm:num_requests_waiting{{server="a"}} 0\n'
        answered = answer(json.dumps({"now": 15 * step, "servers": [{"name": "a", "state": "up", "page": page}]}))
    assert answered["binding"] == {"llama": "data_missing"}


def test_what_was_asked_for_stands_until_less_is_decided(opened: Open) -> None:
    answer = opened()
    fleet, replicas = busy(answer)
    line = fleet.line()
    line["servers"] = [{**server, "page": None} for server in line["servers"][:1]]
    assert answer(json.dumps(line))["desired"] == {"llama": replicas}


def test_bounds_of_a_line_are_for_that_line(opened: Open) -> None:
    answer = opened()
    fleet, replicas = busy(answer)
    line = fleet.line()
    bounded = answer(json.dumps({**line, "workloads": [{"name": "llama", "max": 1}]}))
    assert (bounded["desired"], bounded["binding"]) == ({"llama": 1}, {"llama": "bounds"})
    assert bounded["actions"] == [{"workload": "llama", "from": replicas, "to": 1, "step": "scale"}]
    raised = answer(json.dumps({**line, "now": fleet.now + 1, "workloads": {"llama": {"min": 9}}}))
    assert raised["desired"] == {"llama": 9}


def test_replicas_that_are_asked_for_and_not_listed_are_starting(opened: Open) -> None:
    answer = opened()
    answered = answer(json.dumps({"now": 0, "workloads": [{"name": "llama", "replicas": 3}], "servers": []}))
    assert (answered["desired"], answered["actions"]) == ({"llama": 3}, [])


def test_failed_servers_are_no_replicas(opened: Open) -> None:
    servers = [{"name": n, "state": state} for n, state in (("a", "ready"), ("b", "failed"), ("c", "draining"))]
    assert opened()(json.dumps({"now": 0, "servers": servers}))["desired"] == {"llama": 1}


def test_workloads_that_a_line_does_not_tell_of_stay(opened: Open) -> None:
    two = """
workloads:
  - {name: a, kind: vllm, replicas: {min: 1, max: 9}}
  - {name: b, kind: vllm, replicas: {min: 1, max: 9}}
models:
  - {name: m, runs_on: [a, b]}
"""
    answer = opened(two)
    of_b = [{"name": str(n), "workload": "b", "state": "ready"} for n in range(3)]
    assert answer(json.dumps({"now": 0, "servers": of_b}))["desired"] == {"a": 1, "b": 3}
    assert answer(json.dumps({"now": 1, "workloads": ["a"]}))["desired"] == {"a": 1, "b": 3}


def test_time_does_not_go_back_and_a_line_at_fault_changes_nothing(opened: Open) -> None:
    answer, other = opened(), opened()
    fleet, _ = busy(answer)
    same, _ = busy(other)
    for bad in ({"now": 3}, {"now": fleet.now, "servers": [{"name": "x"}]}):
        with pytest.raises(MalformedLineError):
            answer(json.dumps(bad))
    assert answer(json.dumps(fleet.line())) == other(json.dumps(same.line()))


BURNING = """\
vllm:num_requests_running 6
vllm:num_requests_waiting 0
vllm:request_success_total {served}
vllm:prompt_tokens_total {prompt}
vllm:generation_tokens_total {generation}
vllm:e2e_request_latency_seconds_sum {served}
vllm:request_queue_time_seconds_sum {queued}
vllm:time_to_first_token_seconds_bucket{{le="1.0"}} {inside}
vllm:time_to_first_token_seconds_bucket{{le="+Inf"}} {served}
"""


def test_objectives_are_judged_and_a_budget_that_burns_asks_for_more_certainty(opened: Open) -> None:
    answer = opened()
    quantiles = {}
    late = queued = 0.0
    for step in range(90):
        served = 300.0 * step
        if step > 45:
            late, queued = late + 60.0, queued + 200.0
        told = {"served": served, "inside": served - late, "queued": queued}
        page = BURNING.format(**told, prompt=500 * served, generation=100 * served)
        server = {"name": "a", "state": "ready", "page": page}
        answered = answer(json.dumps({"now": 15.0 * step, "servers": [server]}))
        ahead = [reason for reason in answered["reasons"]["llama"] if reason["code"] == "demand_ahead"]
        quantiles[step] = ahead[0]["numbers"]["quantile"] if ahead else None
    assert quantiles[45] == pytest.approx(0.99)
    assert quantiles[89] == pytest.approx(0.999)


TRITON = """
workloads:
  - {name: t, kind: triton, replicas: {min: 1, max: 20}}
models:
  - {name: bert, runs_on: [t]}
"""


def test_a_triton_is_decided_on_by_its_page_alone(opened: Open) -> None:
    answer, now, requests = opened(TRITON), 0.0, 0
    for _ in range(80):
        now, requests = now + LINE_S, requests + round(LINE_S * 90)
        # batches of four in 40 ms on one instance: full at 100 requests a second
        values = {
            "request_success": requests,
            "count": requests,
            "exec_count": requests // 4,
            "request_duration_us": requests * 60_000,
            "queue_duration_us": requests * 15_000,
            "compute_input_duration_us": requests * 1_000,
            "compute_infer_duration_us": requests * 38_000,
            "compute_output_duration_us": requests * 1_000,
        }
        page = "".join(f'nv_inference_{name}{{model="bert",version="1"}} {v}\n' for name, v in values.items())
        page += 'nv_inference_pending_request_count{model="bert",version="1"} 3\n'
        server = {"name": "a", "workload": "t", "state": "ready", "page": page, "max_batch_size": 4}
        answered = answer(json.dumps({"now": now, "servers": [server]}))
    demand = next(r for r in answered["reasons"]["t"] if r["code"] == "replica_demand")
    assert demand["numbers"]["arrivals_per_s"] == pytest.approx(90.0, rel=0.01)
    assert demand["numbers"]["demand_replicas"] == pytest.approx(0.9, abs=0.3)
    assert answered["desired"]["t"] > 1


def test_a_configuration_without_workloads_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Session(parse_settings('servers: [{name: s, kind: vllm, http: "http://x"}]', {}))


def test_servers_without_a_page_are_none_that_lines_could_tell_of() -> None:
    text = "workloads: [{name: o, kind: ollama, kubernetes: {namespace: ml, pods: app=o}}]"
    with pytest.raises(ConfigurationError) as raised:
        Session(parse_settings(text, {}))
    assert [str(fault) for fault in raised.value.faults] == [
        "workload o: kind ollama is not allowed; kinds with a metrics page: it is what lines tell"
    ]
