"""Lines are read liberally; what is wrong with one is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import MalformedLineError
from controlplane.domain.fleet import Phase, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.shadow.line import ToldServer, ToldWorkload, read_line

SPECS = {
    name: WorkloadSpec(name, ServerKind.VLLM, None, Ports(8000, 0, 8000), replicas=ReplicaBounds(1, 8))
    for name in ("llama", "bert")
}
SERVER: dict[str, Any] = {"name": "a", "workload": "llama", "state": "ready", "started_at": 5, "page": "x 1\n"}


def told(**line: Any) -> str:
    return json.dumps({"now": 10, **line})


def test_a_line_tells_time_workloads_and_servers() -> None:
    line = read_line(told(workloads=["llama"], servers=[SERVER]), SPECS)
    assert (line.now, line.workloads) == (10.0, {"llama": ToldWorkload("llama")})
    assert line.servers == (ToldServer("a", "llama", Phase.READY, 5.0, None, "x 1\n"),)


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        (("starting", "pending", "loading", "creating"), Phase.STARTING),
        (("ready", "running", "serving", "up", " Ready "), Phase.READY),
        (("terminating", "draining", "deleting", "stopping"), Phase.TERMINATING),
        (("failed", "dead", "down"), None),
    ],
)
def test_states_have_several_words(words: tuple[str, ...], phase: Phase | None) -> None:
    for word in words:
        assert read_line(told(servers=[{**SERVER, "state": word}]), SPECS).servers[0].phase is phase


@pytest.mark.parametrize(
    "workloads",
    [
        [{"name": "llama", "replicas": 3, "max": 5}],
        [{"name": "llama", "current": 3.0, "max": 5}],
        [{"name": "llama", "desired": 3, "min": 1, "max": 5}],
        {"llama": {"replicas": 3, "max": 5}},
    ],
)
def test_a_workload_tells_its_replicas_and_bounds_in_several_forms(workloads: object) -> None:
    assert read_line(told(workloads=workloads), SPECS).workloads == {
        "llama": ToldWorkload("llama", 3, ReplicaBounds(1, 5))
    }


def test_without_workloads_all_are_told_of() -> None:
    assert list(read_line(told(servers=[]), SPECS).workloads) == ["llama", "bert"]
    assert list(read_line(told(), SPECS).workloads) == ["llama", "bert"]


def test_the_only_workload_need_not_be_named() -> None:
    server = {"name": 0, "state": "up"}
    assert read_line(told(servers=[server]), {"llama": SPECS["llama"]}).servers[0].workload == "llama"


@pytest.mark.parametrize("page", [None, "", "  \n", 401, {"status": 401}, False])
def test_what_is_no_text_is_no_page(page: object) -> None:
    assert read_line(told(servers=[{**SERVER, "page": page}]), SPECS).servers[0].page == ""


@pytest.mark.parametrize("now", [60, 60.0, "60", "1970-01-01T00:01:00Z"])
def test_times_are_seconds_or_iso(now: object) -> None:
    assert read_line(json.dumps({"now": now}), SPECS).now == 60.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "[1] is not a JSON object"),
        ("{}", "now: it is missing"),
        ('{"now": true}', "now: true is not allowed"),
        ('{"now": NaN}', "now: NaN is not allowed"),
        ('{"now": 1e999}', "now: Infinity is not allowed"),
        ('{"now": 1700000000000}', "now: 1700000000000 is not allowed"),
        ('{"now": "noon"}', 'now: "noon" is not allowed'),
        (told(workloads="llama"), 'workloads: "llama" is not allowed; a list is'),
        (told(workloads=["gpt"]), 'workloads[0]: "gpt" is not configured; workloads are: llama, bert'),
        (told(workloads=[7]), "workloads[0]: 7 is not allowed"),
        (told(workloads=[{"name": "llama", "max": -1}]), "workloads[0].max: -1 is not allowed"),
        (told(workloads=[{"name": "llama", "min": 9}]), "workloads[0]: min 9 is above max 8"),
        (told(workloads=[{"name": "llama", "replicas": 1.5}]), "workloads[0].replicas: 1.5 is not allowed"),
        (told(servers=3), "servers: 3 is not allowed; a list is"),
        (told(servers=[{**SERVER, "name": None}]), "servers[0].name: nothing is not allowed"),
        (told(servers=[{**SERVER, "workload": "gpt"}]), 'servers[0].workload: "gpt" is not configured'),
        (told(servers=[{**SERVER, "workload": None}]), "servers[0].workload: nothing is not configured"),
        (told(servers=[{**SERVER, "state": "odd"}]), 'servers[0].state: "odd" is not allowed; one of these is: start'),
        (told(servers=[{**SERVER, "state": None}]), "servers[0].state: nothing is not allowed"),
        (told(servers=[{**SERVER, "started_at": []}]), "servers[0].started_at: [] is not allowed; seconds are"),
        (told(servers=[{**SERVER, "instances": "two"}]), 'servers[0].instances: "two" is not allowed'),
        (told(servers=[SERVER, SERVER]), "servers: 'a' of llama is there twice"),
    ],
)
def test_a_fault_is_named(text: str, message: str) -> None:
    with pytest.raises(MalformedLineError) as raised:
        read_line(text, SPECS)
    assert str(raised.value).startswith(message)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("name", "workload", "state", "started_at", "ready_at", "page", "instances", "replicas", "min", "max")
ENTRY = ANYTHING | st.dictionaries(st.sampled_from(KEYS), ANYTHING | st.sampled_from(["llama", "ready"]), max_size=6)


@given(now=ANYTHING, workloads=ANYTHING | st.lists(ENTRY, max_size=2), servers=ANYTHING | st.lists(ENTRY, max_size=2))
def test_whatever_a_line_holds_it_is_read_or_its_fault_is_told(now: Any, workloads: Any, servers: Any) -> None:
    try:
        line = read_line(told(now=now, workloads=workloads, servers=servers), SPECS)
    except MalformedLineError:
        return
    assert {server.workload for server in line.servers} <= set(line.workloads)
