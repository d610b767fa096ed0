"""The block `mig` of the configuration, and what of agents and models it is checked against."""

from __future__ import annotations

import pytest

from controlplane.config import parse_settings
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode

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


def test_names_have_to_meet_and_times_to_fit() -> None:
    models = "[{name: smal, memory_gib: 6}, {name: small, memory_gib: 6}, {name: small, memory_gib: 6}]"
    found = faults(f"{{every: 2h, agents: [node-b], models: {models}}}")
    assert found.keys() == {"mig.dwell", "mig.agents[0]", "mig.models[0].name", "mig.models[2].name"}
    assert found["mig.dwell"] == "1h: at least mig.every (2h)"
    assert "node-a" in found["mig.agents[0]"]
    assert found["mig.models[2].name"].endswith("each model once; mig.models[1] is the same")


def test_the_loop_cuts_no_gpu() -> None:
    assert faults("{mode: act, models: [{name: small, memory_gib: 6}]}") == {
        "mig.mode": "act: observe or recommend: plans are carried out by `controlplane mig apply` only"
    }


def test_forms_are_told_with_what_is_allowed() -> None:
    found = faults("{models: [{name: small, memory_gib: -1, profiles: {1g.11gb: 5}}]}")
    assert set(found) >= {"mig.models[0].memory_gib"}
    assert any("1g.10gb" in why for why in found.values())
    assert "mig.models" in faults("{models: []}")
