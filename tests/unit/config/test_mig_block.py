"""The block `mig` of the configuration, and what of agents and models it is checked against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.config import parse_settings
from controlplane.config.mig.boards import boards
from controlplane.decide.mig.asked import capacities
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode
from controlplane.domain.mig import GpuOperator

REST = """
servers: [{name: v0, kind: vllm, http: "http://node-a:9000"}]
agents: [{name: node-a, url: "http://node-a:8901/metrics"}]
models: [{name: small, runs_on: [v0]}]
"""


def faults(mig: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(f"mig: {mig}\n{REST}", {})
    return {fault.path: f"{fault.value}: {fault.allowed}" for fault in raised.value.faults}


def test_little_has_to_be_said_and_it_changes_nothing() -> None:
    settings = parse_settings(f"mig: {{models: [{{name: small, memory_gib: 6}}]}}\n{REST}", {})
    assert settings.mig == MigSettings(Mode.RECOMMEND, 600.0, 3600.0, (MigWish("small", 6.0),))
    assert parse_settings(REST, {}).mig is None


def test_everything_can_be_said() -> None:
    text = (
        "mig: {mode: observe, every: 5m, dwell: 2h, agents: [node-a], models:"
        " [{name: small, memory_gib: 6, profiles: {1g.10gb: 5, whole: 0}, share: true}]}"
    )
    settings = parse_settings(f"{text}\n{REST}", {})
    wish = MigWish("small", 6.0, {"1g.10gb": 5.0, "whole": 0.0}, share=True)
    assert settings.mig == MigSettings(Mode.OBSERVE, 300.0, 7200.0, (wish,), frozenset({"node-a"}))


def test_what_one_plan_may_take_is_no_less_than_what_may_be_out_at_a_time() -> None:
    shares = "max_share: 40%, max_plan_share: 25%, models: [{name: small, memory_gib: 6}]"
    assert faults(f"{{{shares}}}") == {"mig.max_plan_share": "25%: at least mig.max_share (40%)"}
    alike = parse_settings(f"mig: {{{shares.replace('25%', '40%')}}}\n{REST}", {}).mig
    assert alike is not None
    assert (alike.max_share, alike.max_plan_share) == (0.4, 0.4)
    assert faults("{max_share: 60%, models: [{name: small, memory_gib: 6}]}").keys() == {"mig.max_plan_share"}


def test_names_have_to_meet_and_times_to_fit() -> None:
    models = "[{name: smal, memory_gib: 6}, {name: small, memory_gib: 6}, {name: small, memory_gib: 6}]"
    found = faults(f"{{every: 2h, agents: [node-b], models: {models}}}")
    assert found.keys() == {"mig.dwell", "mig.agents[0]", "mig.models[0].name", "mig.models[2].name"}
    assert found["mig.dwell"] == "1h: at least mig.every (2h)"
    assert "node-a" in found["mig.agents[0]"]
    assert found["mig.models[2].name"].endswith("each model once; mig.models[1] is the same")


MODELS = "models: [{name: small, memory_gib: 6}]"


def test_who_is_to_cut_has_to_be_there_with_a_token() -> None:
    assert faults(f"{{mode: act, {MODELS}}}") == {
        "mig.token_file": "nothing: with mode act the file that holds the token of the agents, started with --mig"
        " --token-file"
    }
    dcgm = REST.replace('metrics"}', 'metrics", kind: dcgm}')
    with pytest.raises(ConfigurationError, match=r"mig\.mode: act is not allowed; only with an entry in agents"):
        parse_settings(f"mig: {{mode: act, token_file: t, {MODELS}}}\n{dcgm}", {})
    with pytest.raises(ConfigurationError, match=r"mig\.agents\[0\]: 'node-a' is not allowed; an agent of kind agent"):
        parse_settings(f"mig: {{mode: act, token_file: t, agents: [node-a], {MODELS}}}\n{dcgm}", {})


def test_who_acts_does_so_on_nodes_with_an_agent_only_or_through_the_gpu_operator() -> None:
    settings = parse_settings(f"mig: {{mode: act, token_file: /t, start_timeout: 5m, {MODELS}}}\n{REST}", {}).mig
    assert settings is not None
    assert (settings.agents, settings.token_file, settings.start_s) == (frozenset({"node-a"}), "/t", 300.0)
    assert settings.operator is None
    operator = "operator: {config_map: ours, context: gpu}"
    settings = parse_settings(f"mig: {{mode: act, token_file: /t, {operator}, {MODELS}}}\n{REST}", {}).mig
    assert settings is not None
    assert settings.operator == GpuOperator("ours", context="gpu")


def test_the_operators_own_config_map_is_a_fault_since_it_is_written_over() -> None:
    for mode in ("act", "recommend"):
        found = faults(
            f"{{mode: {mode}, token_file: /t, operator: {{config_map: default-mig-parted-config}}, {MODELS}}}"
        )
        assert found.keys() == {"mig.operator.config_map"}
        assert "migManager.config.name" in found["mig.operator.config_map"]


@pytest.mark.parametrize(
    ("gib", "profiles", "most"),
    [
        (60, "{1g.10gb: 5}", "9.75"),
        (60, "{1g.10gb: 5, 3g.40gb: 9, whole: 0}", "39.5"),
        (60, "{1g.10gb: 5, whole: 9}", ""),
        (60, "{1g.10gb: 0}", ""),
        (60, "{}", ""),
    ],
)
def test_memory_that_none_of_its_profiles_has_on_any_board_is_a_fault(gib: int, profiles: str, most: str) -> None:
    text = f"{{models: [{{name: small, memory_gib: {gib}, profiles: {profiles}}}]}}"
    if most:
        found = faults(text)
        assert found.keys() == {"mig.models[0].memory_gib"}
        assert found["mig.models[0].memory_gib"].startswith(f"{gib}: at most {most}")
    else:
        assert parse_settings(f"mig: {text}\n{REST}", {}).mig is not None


def tensor_parallel(profiles: str, runs_on: str = "llama, 'llama-*'", mode: str = "act") -> str:
    return f"""
workloads:
  - {{name: llama, kind: vllm, gpus_per_replica: 4, kubernetes: {{namespace: ml, pods: app=llama}}}}
  - {{name: llama-b, kind: vllm, gpus_per_replica: 2, kubernetes: {{namespace: ml, pods: app=b}}}}
  - {{name: one, kind: vllm, kubernetes: {{namespace: ml, pods: app=one}}}}
servers: [{{name: v0, kind: vllm, http: "http://node-a:9000"}}]
agents: [{{name: node-a, url: "http://node-a:8901/metrics"}}]
models: [{{name: large, runs_on: [{runs_on}]}}]
mig: {{mode: {mode}, token_file: /t, models: [{{name: large, memory_gib: 18, profiles: {profiles}}}]}}
"""


@pytest.mark.parametrize("mode", ["act", "recommend"])
def test_slices_of_a_model_whose_replicas_have_several_gpus_are_faults(mode: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(tensor_parallel("{2g.20gb: 5, 1g.20gb: 0, 3g.40gb: 7, whole: 90}", mode=mode), {})
    assert {fault.path: fault.value for fault in raised.value.faults} == {
        "mig.models[0].profiles.2g.20gb": "5",
        "mig.models[0].profiles.3g.40gb": "7",
    }
    told = (
        "whole GPUs only (`whole`, or 0 here): llama has 4 GPUs per replica, and there is no tensor parallel over MIG"
        " slices"
    )
    assert {fault.allowed for fault in raised.value.faults} == {told}


def test_no_slice_is_scaled_or_learned_for_a_model_whose_replicas_have_several_gpus() -> None:
    board = boards()["h100-80gb"]
    for runs_on, on in (("llama, llama-b", {"whole"}), ("llama, one", {p.name for p in board.profiles})):
        mig = parse_settings(tensor_parallel("{whole: 90}", runs_on), {}).mig
        assert mig is not None
        wish = replace(mig.models[0], memory_gib=1.0)
        for learned in ({}, {("large", board.key, "3g.40gb"): 7.0}):
            assert {profile for _, profile in capacities(wish, [board], learned)} == on


@pytest.mark.parametrize("runs_on", ["one", "v0", "llama, one", "llama, v0"])
def test_slices_are_for_models_that_run_with_one_gpu_too(runs_on: str) -> None:
    settings = parse_settings(tensor_parallel("{2g.20gb: 5}", runs_on), {})
    assert settings.mig is not None
    assert not settings.mig.models[0].whole


def test_an_agent_that_is_named_twice_is_a_fault() -> None:
    assert faults(f"{{agents: [node-a, node-a], {MODELS}}}") == {"mig.agents[1]": "'node-a': each agent once"}


def test_forms_are_told_with_what_is_allowed() -> None:
    found = faults("{models: [{name: small, memory_gib: -1, profiles: {1g.11gb: 5}}]}")
    assert set(found) >= {"mig.models[0].memory_gib"}
    assert any("1g.10gb" in why for why in found.values())
    assert "mig.models" in faults("{models: []}")
