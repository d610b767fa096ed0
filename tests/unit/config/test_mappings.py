from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.config import Settings, parse_settings
from controlplane.config.mapping_file import shipped
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode, ProbeSpec, ServerKind
from controlplane.domain.mapping import Series
from controlplane.domain.objectives import IndicatorSource

MAPPING = """
sources: ours
model_label: m
requests: {success: {metric: [done, finished], where: {code: "2.."}}}
histograms: {e2e: {metric: took, unit: ms}}
"""


def parse(servers: str, models: str = "", more: str = "") -> Settings:
    return parse_settings(f"servers: [{servers}]\nmodels: [{models}]\n{more}", {})


def faults(servers: str, models: str = "", more: str = "") -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(servers, models, more)
    return {fault.path: fault.allowed for fault in caught.value.faults}


def one(kind: str, **keys: object) -> str:
    return f"{{name: s, kind: {kind}, http: 'http://h', " + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (ServerKind.TGI, "/metrics"),
        (ServerKind.TFSERVING, "/monitoring/prometheus/metrics"),
        (ServerKind.SGLANG, "/metrics"),
        (ServerKind.NIM, "/v1/metrics"),
    ],
)
def test_a_server_of_a_known_kind_brings_its_mapping_and_its_page(kind: ServerKind, page: str) -> None:
    (server,) = parse(one(kind.value)).fleet.servers
    assert server.metrics == f"http://h{page}"
    assert server.mapping == shipped(kind)
    assert server.mapping is not None
    assert server.mapping.sources


def test_torchserve_whose_page_has_a_port_of_its_own_needs_metrics() -> None:
    assert faults(one("torchserve")) == {"servers[0].metrics": "it is required for kind torchserve"}
    (server,) = parse(one("torchserve", metrics="'http://h:8082/metrics'")).fleet.servers
    assert server.metrics == "http://h:8082/metrics"


def test_ollama_is_read_by_its_list_of_loaded_models() -> None:
    (server,) = parse(one("ollama")).fleet.servers
    assert (server.metrics, server.mapping) == ("http://h/api/ps", None)
    assert list(faults(one("ollama", metrics="'http://h/metrics'"))) == ["servers[0].metrics"]


def test_models_on_ollama_are_loaded_by_hand_only() -> None:
    (model,) = parse(one("ollama"), "{name: m, runs_on: s, mode: act}").fleet.models
    assert model.mode is Mode.ACT
    told = faults(one("ollama"), "{name: m, runs_on: s, idle_unload: 5m, wake: {ensure: true}}")
    assert list(told) == ["models[0].idle_unload", "models[0].wake"]
    assert "tells no requests" in told["models[0].idle_unload"]


@pytest.mark.parametrize("by_name", [True, False])
def test_users_bring_a_mapping_of_their_own(tmp_path: Path, by_name: bool) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MAPPING)
    named = one("mapped", mapping="mine" if by_name else file)
    on_it = "{name: a, runs_on: s, objectives: [{e2e: 1s, target: 99%}]}"
    settings = parse(named, on_it, f"mappings: {{mine: {file}}}" if by_name else "")
    (server,) = settings.fleet.servers
    assert server.mapping is not None
    assert server.mapping.outcomes.success == (Series(("done", "finished"), (("code", "2.."),)),)
    assert [series.unit_s for _, series in server.mapping.histograms] == [0.001]
    (model,) = settings.fleet.models
    assert model.mode is Mode.OBSERVE
    assert [objective.source for objective in model.objectives] == [IndicatorSource.SERVER]


def test_every_fault_of_a_mapping_file_is_told_at_once_and_only_those(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "gauges: {pendin: a, running: {metric: a-b}}\nhistograms: {e2e: {metric: x, unit: min}}\nsorces: x\n"
    )
    model = "{name: a, runs_on: s, objectives: [{availability: 99%}, {ttft: 1s, target: 99%}]}"
    found = faults(one("mapped", mapping=file), model)
    assert set(found) == {
        "servers[0].mapping.gauges.pendin",
        "servers[0].mapping.gauges.running.metric[0]",
        "servers[0].mapping.histograms.e2e.unit",
        "servers[0].mapping.sorces",
        "servers[0].mapping.sources",
    }
    assert found["servers[0].mapping.sorces"].startswith("did you mean 'sources'?")


@pytest.mark.parametrize(
    ("text", "path", "word"),
    [
        ("sources: x\n", "mappings.mine", "at least one of"),
        ("sources: x\nhistograms: {e2e: x_bucket}\n", "mappings.mine.histograms.e2e.metric[0]", "without _bucket"),
        (
            "sources: x\nrequests: {success: {metric: r, where: {a: '('}}}\n",
            "mappings.mine.requests.success[0].where.a",
            "regular expression",
        ),
        ("a: [\n", "mappings.mine: line 2, column 1", "valid YAML"),
        ("a: 1\na: 2\n", "mappings.mine: line 2", "each key once"),
        ("", "mappings.mine: the file", "mapping of keys"),
    ],
)
def test_a_mapping_at_fault_is_told_though_no_server_uses_it(tmp_path: Path, text: str, path: str, word: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert word in faults(one("vllm"), more=f"mappings: {{mine: {file}}}")[path]


def test_a_mapping_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    assert faults(one("mapped", mapping=tmp_path / "no.yaml")) == {"servers[0].mapping": "a readable mapping file"}


def test_a_mapping_is_for_kind_mapped_which_needs_one() -> None:
    assert list(faults(one("mapped"))) == ["servers[0].mapping"]
    assert list(faults(one("tgi", mapping="x.yaml"))) == ["servers[0].mapping"]


def test_models_on_such_servers_are_observed_only() -> None:
    assert "servers are observed" in faults(one("sglang"), "{name: a, runs_on: s, mode: act}")["models[0].mode"]
    assert parse(one("sglang"), "{name: a, runs_on: s}", "mode: act").fleet.models[0].mode is Mode.OBSERVE


def test_a_page_that_names_no_model_is_about_one() -> None:
    found = faults(one("tgi"), "{name: a, runs_on: s}, {name: b, runs_on: s}")
    assert found == {"models[1].runs_on": "one model on s, whose page names none; models[0] has it already"}


@pytest.mark.parametrize(
    ("kind", "objective", "path", "word"),
    [
        ("sglang", "availability: 99%", "source", "does not tell it"),
        ("tgi", "ttft: 1s, target: 99%", "source", "one of probe"),
        (
            "tfserving",
            "ttft: 1s, target: 99%",
            "ttft",
            "one of availability, latency, e2e, ratio for a model on tfserving",
        ),
        (
            "ollama",
            "queue_time: 1s, target: 99%",
            "queue_time",
            "one of availability, latency, ttft, e2e, ratio for a model",
        ),
    ],
)
def test_an_objective_needs_what_measures_it(kind: str, objective: str, path: str, word: str) -> None:
    model = f"{{name: a, runs_on: s, objectives: [{{{objective}}}]}}"
    assert word in faults(one(kind), model)[f"models[0].objectives[0].{path}"]


@pytest.mark.parametrize("kind", ["vllm", "tgi", "sglang", "nim", "ollama"])
def test_probes_of_completions_measure_the_first_token_and_the_whole_answer(kind: str) -> None:
    objectives = ", ".join(f"{{{name}: 1s, target: 99%, source: probe}}" for name in ("latency", "ttft", "e2e"))
    probed = "probe: {every: 1m, timeout: 20s, body: {prompt: a, stream: true}, token_file: key}"
    (model,) = parse(one(kind), f"{{name: a, runs_on: s, {probed}, objectives: [{objectives}]}}").fleet.models
    assert model.probe == ProbeSpec(60.0, 20.0, '{"prompt": "a", "stream": true}', "key")
    assert {objective.source for objective in model.objectives} == {IndicatorSource.PROBE}


def test_the_first_token_is_seen_in_a_stream_only() -> None:
    unstreamed = (
        "{name: a, runs_on: s, probe: {body: {prompt: a}}, objectives: [{ttft: 1s, target: 99%, source: probe}]}"
    )
    assert "stream: true" in faults(one("vllm"), unstreamed)["models[0].objectives[0].source"]


def test_servers_without_completions_are_not_probed() -> None:
    found = faults(one("tfserving"), "{name: a, runs_on: s, probe: {}}")
    assert found == {"models[0].probe": "only for models on: mapped, nim, ollama, sglang, tgi, triton, vllm"}


def test_objectives_that_the_page_measures_are_taken() -> None:
    objectives = "[{availability: 99%}, {e2e: 1s, target: 99%}, {inter_token_latency: 50ms, target: 99%}]"
    (model,) = parse(one("tgi"), f"{{name: a, runs_on: s, objectives: {objectives}}}").fleet.models
    assert len(model.objectives) == 3
