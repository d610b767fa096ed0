import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from controlplane.config import Settings, load_settings, parse_settings
from controlplane.config.environment import unheeded
from controlplane.config.tree import ActBlock, PolicyBlock
from controlplane.decide.policy import Policy
from controlplane.domain.batching import BatchingUse
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode, ProbeSpec, ServerKind, Wake
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.sources import AgentKind, AgentSpec, GatewaySpec

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
SMALL = """
servers:
  - {name: t0, kind: triton, http: "http://h:8000/", grpc: "h:8001", metrics: "http://h:8002/metrics"}
models:
  - {name: bert, runs_on: t0}
"""


def parse(text: str, **env: str) -> Settings:
    return parse_settings(text, env)


def faults(text: str, **env: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(text, env)
    return {fault.path: fault.allowed for fault in caught.value.faults}


def test_a_small_file_gets_the_defaults() -> None:
    settings = parse(SMALL)
    assert settings.store_url == "sqlite:///controlplane.db"
    assert (settings.scrape_interval_s, settings.scrape_timeout_s, settings.decide_interval_s) == (5.0, 2.0, 15.0)
    assert (settings.api.host, settings.api.port, settings.api.tokens_file) == ("127.0.0.1", 8900, None)
    assert settings.policy == Policy()
    (model,) = settings.fleet.models
    assert (model.mode, model.served_name, model.runs_on) == (Mode.RECOMMEND, "bert", ("t0",))
    assert (model.instances_min, model.instances_max, model.idle_unload_s, model.wake) == (1, 1, None, Wake())
    assert settings.fleet.servers[0].http == "http://h:8000"


def test_every_key_of_a_model_arrives() -> None:
    text = (
        SMALL.replace("{name: bert, runs_on: t0}", "")
        + """
    name: bert
    served_name: bert/v2
    runs_on: ["t*"]
    mode: act
    instances: {min: 0, max: 8}
    idle_unload: 30m
    wake: {ensure: true}
    priority: 10
    batching: act
    device: gpu-a
    probe: {every: 1m, timeout: 500ms, body: {inputs: []}}
    objectives:
      - {availability: 99.9%}
      - {latency: 100ms, target: 0.99, window: 7d, source: probe}
"""
    )
    (model,) = parse(text.replace("- \n    name", "- name")).fleet.models
    assert (model.name, model.served_name, model.runs_on, model.mode) == ("bert", "bert/v2", ("t0",), Mode.ACT)
    assert (model.instances_min, model.instances_max, model.idle_unload_s) == (0, 8, 1800.0)
    assert (model.wake, model.priority, model.device) == (Wake(ensure=True), 10, "gpu-a")
    assert model.batching is BatchingUse.ACT
    assert model.probe == ProbeSpec(60.0, 0.5, '{"inputs": []}')
    assert model.objectives == (
        Objective(Indicator.AVAILABILITY, 0.999, 28 * 86400, IndicatorSource.SERVER),
        Objective(Indicator.LATENCY, 0.99, 7 * 86400, IndicatorSource.PROBE, 0.1),
    )


def test_the_policy_block_arrives_in_seconds() -> None:
    policy = parse(
        SMALL + "policy: {scale_down_after: 10m, max_step_up: 2, quantile_normal: 80%, back_off_max: 1h}\n"
    ).policy
    assert policy == Policy(scale_down_after_s=600, max_step_up=2, quantile_normal=0.8, back_off_max_s=3600)


def test_every_knob_of_the_policy_has_a_key() -> None:
    keys = set(PolicyBlock.model_fields) | set(ActBlock.model_fields) - {"retries"}
    assert {f.name.removesuffix("_s") for f in dataclasses.fields(Policy)} == keys


def test_readings_of_a_slow_scrape_do_not_age_between_two_of_them() -> None:
    assert parse(SMALL + "scrape: {interval: 1m}\ndecide: {interval: 1m}\n").policy.data_max_age_s == 180.0
    assert parse(SMALL).policy.data_max_age_s == 30.0


def test_the_examples_are_valid(tmp_path: Path) -> None:
    assert load_settings(EXAMPLES / "triton.yaml", {}).mode is Mode.RECOMMEND
    (tmp_path / "password").write_text("p@ss/word\n")
    settings = load_settings(EXAMPLES / "fleet.yaml", {"CONTROLPLANE_STORE_PASSWORD_FILE": str(tmp_path / "password")})
    assert settings.store_url == "postgresql+psycopg://controlplane:p%40ss%2Fword@db.example.org/controlplane"
    assert "p%40ss" not in repr(settings)
    assert settings.fleet.agents == ()
    assert settings.fleet.gateways == (
        GatewaySpec("edge", "http://edge:9100/metrics", "http_request_duration_seconds", "model", "code", "5.."),
    )
    bert, deepfm, llama = settings.fleet.models
    assert bert.runs_on == ("triton-0", "triton-1")
    assert [m.mode for m in (bert, deepfm, llama)] == [Mode.ACT, Mode.RECOMMEND, Mode.ACT]
    assert {o.source for o in llama.objectives} == {IndicatorSource.SERVER}
    assert settings.fleet.servers[2].kind is ServerKind.VLLM
    assert settings.fleet.servers[2].metrics == "http://llama-0:8000/metrics"


def test_the_environment_overrides_the_file_and_an_empty_value_unsets() -> None:
    text = SMALL + "api: {host: 0.0.0.0, tokens_file: tokens, port: 1}\nmode: act\n"
    settings = parse(
        text,
        CONTROLPLANE_STORE="postgresql+psycopg://u:secret@h/d",
        CONTROLPLANE_API__HOST="127.0.0.1",
        CONTROLPLANE_API__TOKENS_FILE="",
        CONTROLPLANE_API__PORT="0",
        CONTROLPLANE_SCRAPE__TIMEOUT="500ms",
        CONTROLPLANE_MODE="",
    )
    assert settings.store_url == "postgresql+psycopg://u:secret@h/d"
    assert (settings.api.host, settings.api.port, settings.api.tokens_file) == ("127.0.0.1", 0, None)
    assert (settings.scrape_timeout_s, settings.mode) == (0.5, Mode.RECOMMEND)


def test_a_fault_from_the_environment_names_its_variable() -> None:
    found = faults(SMALL, CONTROLPLANE_API__PORT="x", CONTROLPLANE_API__PROT="1")
    assert set(found) == {"api.port (from CONTROLPLANE_API__PORT)", "api.prot (from CONTROLPLANE_API__PROT)"}


def test_what_kubernetes_sets_for_a_service_is_left_alone() -> None:
    assert parse(SMALL, CONTROLPLANE_PORT="tcp://10.0.0.1:8900", CONTROLPLANE_SERVICE_HOST="10.0.0.1").api.port == 8900


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "mapping"),
        ("# only a comment", "mapping"),
        ("- a", "mapping"),
        ("{}", "mapping"),
        ("just text", "mapping"),
        ("a: [", "YAML"),
        ("a: *b", "YAML"),
        ("a: 2024-13-45", "YAML"),
        ("a: \x01", "YAML"),
        ("? [a]\n: b", "YAML"),
        ("a: !!python/object/apply:os.getcwd []", "YAML"),
        ("[" * 5000, "mapping"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_one_clear_fault(text: str, word: str) -> None:
    (allowed,) = faults(text).values()
    assert word in allowed


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"mode: \xe9")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "latin"):
        with pytest.raises(ConfigurationError, match="1 fault"):
            load_settings(path, {})


def test_what_does_not_end_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a device"):
        load_settings("/dev/zero", {})
    (tmp_path / "large").write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(ConfigurationError, match="is larger than 4 MiB"):
        load_settings(tmp_path / "large", {})


def test_a_configuration_may_come_by_a_pipe() -> None:
    reader, writer = os.pipe()
    os.write(writer, SMALL.encode())
    os.close(writer)
    assert [s.name for s in load_settings(f"/dev/fd/{reader}", {}).fleet.servers] == ["t0"]
    os.close(reader)


def test_keys_given_twice_are_all_told() -> None:
    found = faults(SMALL + "mode: act\nmode: act\nscrape: {interval: 5s, interval: 6s}\n")
    assert set(found) == {"line 7", "line 8"}


def test_merge_keys_are_no_duplicates() -> None:
    text = SMALL.replace(
        "models:",
        "  - &a {name: t1, kind: triton, http: 'http://h', grpc: 'h:1', metrics: 'http://h'}\n"
        "  - {<<: *a, name: t2}\nmodels:",
    )
    assert [s.name for s in parse(text).fleet.servers] == ["t0", "t1", "t2"]


def test_no_secret_reaches_a_message() -> None:
    for store in (
        "postgresql+psycopg://u:hunter2@h/d",
        "postgresql://u:hunter2@h/d",
        "postgresql+psycopg://h/d?password=hunter2",
    ):
        with pytest.raises(ConfigurationError) as caught:
            parse(SMALL + f"store: {store}\n")
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        parse(SMALL.replace("http://h:8000/", "http://u:hunter2@h:8000"))
    assert "hunter2" not in str(caught.value)
    for url in ("http://h?token=hunter2", "http://h/m#hunter2", "http://u:hun/ter2@h", "u:hunter2@h:8000"):
        with pytest.raises(ConfigurationError) as caught:
            parse(SMALL.replace("http://h:8000/", url))
        assert "ter2" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        parse("hunter2")  # a file of a token, named by mistake
    assert "hunter2" not in str(caught.value)


def with_model(**keys: object) -> str:
    tree = yaml.safe_load(SMALL)
    tree["servers"].append({"name": "v0", "kind": "vllm", "http": "http://v:8000"})
    tree["models"][0].update(keys)
    return yaml.safe_dump(tree)


@pytest.mark.parametrize(
    ("keys", "path", "word"),
    [
        ({"name": "t0"}, "name", "unique"),
        ({"runs_on": ["t00"]}, "runs_on[0]", "did you mean 't0'"),
        ({"runs_on": ["x*"]}, "runs_on[0]", "matches"),
        ({"runs_on": ["t0", "v0"]}, "runs_on", "one kind"),
        ({"runs_on": []}, "runs_on", "at least one"),
        ({"runs_on": [3]}, "runs_on[0]", "text"),
        ({"instances": {"min": 3, "max": 2}}, "instances.min", "at most instances.max (2)"),
        ({"instances": {"min": -1}}, "instances.min", "greater than or equal to 0"),
        ({"instances": {"max": 0}}, "instances.max", "greater than or equal to 1"),
        ({"instances": {"max": True}}, "instances.max", "whole number"),
        ({"instances": {"min": 0}}, "wake", "wake source"),
        ({"idle_unload": "30m"}, "wake", "wake source"),
        ({"idle_unload": 30}, "idle_unload", "unit"),
        ({"wake": {"promql": "up"}}, "wake.promql", "ensure"),
        ({"mode": "actt"}, "mode", "did you mean 'act'"),
        ({"probe": {"every": "5s", "timeout": "6s"}}, "probe.timeout", "at most probe.every (5s)"),
        ({"instnces": {}}, "instnces", "did you mean 'instances'"),
        ({"runs_on": ["v0"], "instances": {"max": 2}}, "instances", "a vLLM has one instance"),
        ({"runs_on": ["v0"], "idle_unload": "30m"}, "wake", "wake source"),
        ({"runs_on": ["v0"], "probe": {"body": {"inputs": []}}}, "probe.body", "prompt or messages on kind vllm"),
        ({"probe": {"body": {"prompt": "a"}}}, "probe.body", "inputs on kind triton"),
        ({"probe": {"token_file": "key"}}, "probe.token_file", "not on kind triton"),
    ],
)
def test_a_fault_of_a_model_is_told_with_its_path(keys: dict[str, object], path: str, word: str) -> None:
    found = faults(with_model(**keys))
    assert list(found) == [f"models[0].{path}"]
    assert word in found[f"models[0].{path}"]


@pytest.mark.parametrize(
    ("server", "objective", "path", "word"),
    [
        ("t0", {"latency": "100ms", "target": "99%"}, ".source", "gateway, probe, mean_slices"),
        ("t0", {"latency": "100ms", "target": "99%", "source": "server"}, ".source", "gateway, probe, mean_slices"),
        ("t0", {"latency": "100ms", "target": "99%", "source": "gateway"}, ".source", "gateways"),
        ("t0", {"latency": "100ms", "target": "99%", "source": "probe"}, ".source", "probe"),
        ("t0", {"latency": "100ms", "target": "99%", "source": "prob"}, ".source", "did you mean 'probe'"),
        ("t0", {"latency": 100, "target": "99%", "source": "mean_slices"}, ".latency", "unit"),
        ("t0", {"latency": "0ms", "target": "99%", "source": "mean_slices"}, ".latency", "above 0"),
        ("t0", {"latency": "1s", "target": 99, "source": "mean_slices"}, ".target", "percentage"),
        ("t0", {"latency": "1s", "target": "100%", "source": "mean_slices"}, ".target", "below 1"),
        ("t0", {"latency": "1s", "source": "mean_slices"}, ".target", "required"),
        ("t0", {"availability": "99%", "source": "probe"}, ".source", "server, gateway"),
        ("t0", {"availability": "99%", "target": "99%"}, ".target", "its own target"),
        ("t0", {"availability": "99%", "window": "30m"}, ".window", "1h to 90d"),
        ("t0", {"availability": "99%", "window": "91d"}, ".window", "1h to 90d"),
        ("t0", {"availability": "99%", "ttft": "1s"}, "", "exactly one"),
        ("t0", {"target": "99%"}, "", "exactly one"),
        ("t0", {"e2e": "1s", "target": "99%"}, ".e2e", "availability, latency, ttft"),
        ("v0", {"latency": "1s", "target": "99%"}, ".source", "one of probe"),
        ("v0", {"latency": "1s", "target": "99%", "source": "probe"}, ".source", "needs the model's probe"),
        ("v0", {"e2e": "1s", "target": "99%", "source": "probe"}, ".source", "needs the model's probe"),
        ("v0", {"inter_token_latency": "1s", "target": "99%", "source": "probe"}, ".source", "one of server"),
        ("v0", {"ttft": "1s", "target": "99%", "source": "gateway"}, ".source", "server"),
    ],
)
def test_a_fault_of_an_objective_is_told_with_its_path(
    server: str, objective: dict[str, object], path: str, word: str
) -> None:
    found = faults(with_model(runs_on=[server], objectives=[objective]))
    assert list(found) == [f"models[0].objectives[0]{path}"]
    assert word in found[f"models[0].objectives[0]{path}"]


def test_the_same_objective_twice_is_refused() -> None:
    objectives = [{"availability": "99%"}, {"availability": "99.9%", "window": "7d"}]
    assert list(faults(with_model(objectives=objectives))) == ["models[0].objectives[1]"]


def test_availability_from_a_gateway_needs_its_code_label() -> None:
    gateway = "gateways: [{name: g, page: 'http://g/metrics', histogram: h%s}]\n"
    text = with_model(objectives=[{"availability": "99%", "source": "gateway"}])
    assert "code_label" in faults(text + gateway % "")["models[0].objectives[0].source"]
    assert parse(text + gateway % ", code_label: code").fleet.models[0].objectives[0].source is IndicatorSource.GATEWAY


def test_agents_are_read_by_name_and_address() -> None:
    settings = parse(SMALL + "agents: [{name: n1, url: 'http://n1:8901/metrics'}]\n")
    assert settings.fleet.agents == (AgentSpec("n1", "http://n1:8901/metrics"),)


def test_the_page_of_a_node_is_that_of_the_agent_unless_it_is_said_to_be_of_dcgm() -> None:
    agents = "agents: [{name: n1, url: 'http://n1:9400/metrics', kind: dcgm}]\n"
    assert parse(SMALL + agents).fleet.agents == (AgentSpec("n1", "http://n1:9400/metrics", AgentKind.DCGM),)
    assert "agent, dcgm" in faults(SMALL + agents.replace("dcgm", "smi"))["agents[0].kind"]


def test_all_faults_of_agents_are_told_at_once() -> None:
    text = (
        SMALL
        + """
agents:
  - {name: n1, url: "http://n1:8901/metrics"}
  - {name: n1, url: "http://n2:8901/metrics"}
  - {name: n3, url: "n3:8901"}
  - {name: n4}
  - {name: n5, url: "http://n5:8901/metrics", port: 1}
"""
    )
    assert list(faults(text)) == ["agents[1].name", "agents[2].url", "agents[3].url", "agents[4].port"]


def test_one_served_name_on_one_server_belongs_to_one_model() -> None:
    text = SMALL + "  - {name: other, served_name: bert, runs_on: t0}\n"
    assert list(faults(text)) == ["models[1].served_name"]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("scrape: {timeout: 5s}", "scrape.timeout"),
        ("decide: {interval: 4s}", "decide.interval"),
        ("api: {host: 0.0.0.0}", "api.host"),
        ("api: {port: 65536}", "api.port"),
        ("store: mysql://h/d", "store"),
        ("store_password_file: x", "store_password_file"),
        ("policy: {back_off_min: 1h}", "policy.back_off_min"),
        ("policy: {quantile_burning: 50%}", "policy.quantile_normal"),
        ("policy: {data_max_age: 6s}", "policy.data_max_age"),
        ("policy: {max_step_up: 0}", "policy.max_step_up"),
        ("scrape: 5s", "scrape"),
        ("gateways: [{name: g, page: 'http://g', histogram: 'a b'}]", "gateways[0].histogram"),
        ("gateways: [{name: g, page: 'http://g', histogram: h, error_codes: '('}]", "gateways[0].error_codes"),
        ("3: 4", "3"),
        ("null: 4", "None"),
    ],
)
def test_a_fault_of_the_rest_is_told_with_its_path(more: str, path: str) -> None:
    assert list(faults(SMALL + more + "\n")) == [path]


def test_a_store_password_needs_a_user_and_a_readable_file(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    assert list(faults(SMALL + f"store: postgresql+psycopg://h/d\nstore_password_file: {tmp_path / 'p'}\n")) == [
        "store_password_file"
    ]
    assert list(faults(SMALL + f"store: postgresql+psycopg://u@h/d\nstore_password_file: {tmp_path / 'q'}\n")) == [
        "store_password_file"
    ]


def test_a_triton_needs_grpc_and_metrics_and_a_vllm_takes_no_grpc() -> None:
    text = "servers: [{name: a, kind: triton, http: 'http://h'}, {name: b, kind: vllm, http: 'http://h', grpc: 'h:1'}]"
    assert list(faults(text)) == ["servers[0].grpc", "servers[0].metrics", "servers[1].grpc"]


def test_no_servers_is_a_fault() -> None:
    assert list(faults("servers: []")) == ["servers"]
    assert list(faults("mode: act")) == ["servers"]


def test_a_server_at_fault_makes_no_further_fault_where_it_is_named() -> None:
    text = SMALL.replace("http: ", "htp: ").replace("runs_on: t0", "runs_on: t0, objectives: [{availability: 99%}]")
    assert list(faults(text)) == ["servers[0].htp", "servers[0].http"]


def test_a_variable_that_is_misspelt_is_told_and_those_of_kubernetes_are_not() -> None:
    env = {
        "CONTROLPLANE_SOTRE": "sqlite:///a.db",
        "CONTROLPLANE_SCRAP__INTERVAL": "5s",
        "CONTROLPLANE_STORE": "sqlite:///a.db",
        "CONTROLPLANE_API__PORT": "8900",
        "CONTROLPLANE_TOKEN": "t",
        "CONTROLPLANE_PORT": "tcp://10.0.0.1:8900",
        "CONTROLPLANE_SERVICE_HOST": "10.0.0.1",
        "CONTROLPLANE_API_SERVICE_PORT": "8900",
        "STORE": "x",
    }
    assert list(unheeded(env)) == [
        "CONTROLPLANE_SCRAP__INTERVAL is heeded by nothing: did you mean CONTROLPLANE_SCRAPE?",
        "CONTROLPLANE_SOTRE is heeded by nothing: did you mean CONTROLPLANE_STORE?",
    ]
