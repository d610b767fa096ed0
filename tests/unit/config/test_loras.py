from __future__ import annotations

import pytest

from controlplane.config import parse_settings
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode
from controlplane.domain.lora import Lora, adapter_paths

TEXT = """
mode: act
servers:
  - {{name: v0, kind: vllm, http: "http://v0:8000"}}
  - {{name: v1, kind: vllm, http: "http://v1:8000"}}
  - {{name: t0, kind: triton, http: "http://t", grpc: "t:1", metrics: "http://t:2/metrics"}}
models:
  - {{name: chat, runs_on: v0}}
  - {{name: sql, {keys}}}
"""
GIVEN = "runs_on: v0, lora: {path: /a, base: chat}"


def faults(keys: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(TEXT.format(keys=keys), {})
    return {fault.path: fault.allowed for fault in raised.value.faults}


def test_an_adapter_is_a_model_with_a_path_and_a_base() -> None:
    keys = f"{GIVEN[:-1]}, token_file: key}}, wake: {{ensure: true}}, probe: {{every: 30s}}, "
    keys += "objectives: [{e2e: 2s, target: 99%, source: probe}]"
    chat, sql = parse_settings(TEXT.format(keys=keys), {}).fleet.models
    assert (sql.lora, sql.mode, sql.wake.ensure) == (Lora("/a", "chat", "key"), Mode.ACT, True)
    assert chat.lora is None


@pytest.mark.parametrize(
    ("keys", "path", "word"),
    [
        (GIVEN.replace("chat", "chta"), "lora.base", "did you mean 'chat'"),
        (GIVEN.replace("chat", "sql"), "lora.base", "no adapter: one of: chat"),
        (GIVEN.replace("v0", '"v*"'), "runs_on", "where its base chat runs: v0"),
        (f"{GIVEN}, idle_unload: 30m, wake: {{ensure: true}}", "idle_unload", "idleness is not seen"),
        (f"{GIVEN}, objectives: [{{availability: 99%}}]", "objectives[0].source", "probe, or a ratio"),
        (f"{GIVEN}, objectives: [{{throughput: 5/s, target: 99%}}]", "objectives[0].source", "probe, or a ratio"),
        (GIVEN.replace("/a", '""'), "lora.path", "at least one"),
    ],
)
def test_a_fault_of_an_adapter_is_told_with_its_path(keys: str, path: str, word: str) -> None:
    found = faults(keys)
    assert list(found) == [f"models[1].{path}"]
    assert word in found[f"models[1].{path}"]


def test_an_adapter_is_for_vllm_only() -> None:
    assert faults("runs_on: t0, lora: {path: /a, base: chat}") == {
        "models[1].lora": "only for models on vllm",
        "models[1].runs_on": "where its base chat runs: v0",
    }


@pytest.mark.parametrize(
    ("told", "paths"),
    [
        (
            {"data": [{"id": "tiny", "root": "m", "parent": None}, {"id": "a", "root": "/a", "parent": "m"}]},
            {"a": "/a"},
        ),
        ({"data": []}, {}),
        ({"data": [{"id": "a", "parent": "m"}]}, {"a": ""}),
        ({"data": ["a"]}, None),
        ({"error": "Unauthorized"}, None),
        ([], None),
        (None, None),
    ],
    ids=str,
)
def test_adapters_are_the_models_that_have_a_parent(told: object, paths: dict[str, str] | None) -> None:
    assert adapter_paths(told) == paths
