"""Profile files are read with the configuration, and every fault of theirs is told where they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.config import Settings, parse_settings
from controlplane.config.profile_file import parse_profile, write_profile
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.profiles import BatchProfile, Profile, TokenProfile

BATCHES = BatchProfile(0.0026, 0.0137, 8, 2, "controlplane profile http://t:8000", 1.7e9, 14, 0.012)
TOKENS = TokenProfile(0.008, 0.0002, 0.02, 0.0001, 16000, None, 512, 64, "AIPerf: a.csv", 1.7e9, 6, 0.03)
TRITON = "{name: t, kind: triton, http: 'http://t:8000', grpc: 't:8001', metrics: 'http://t:8002/metrics'}"
VLLM = "{name: v, kind: vllm, http: 'http://v:8000'}"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(runs_on: str, text: str) -> Settings:
    Path("m.profile.yaml").write_text(text, encoding="utf-8")
    model = f"{{name: m, runs_on: {runs_on}, profile: m.profile.yaml}}"
    return parse_settings(f"servers: [{TRITON}, {VLLM}]\nmodels: [{model}]\n", {})


def faults(runs_on: str, text: str) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        settings(runs_on, text)
    return {fault.path: (fault.value, fault.allowed) for fault in caught.value.faults}


@pytest.mark.parametrize(("runs_on", "profile"), [("t", BATCHES), ("v", TOKENS)])
def test_what_was_written_is_what_the_model_has(runs_on: str, profile: Profile) -> None:
    model = settings(runs_on, write_profile(profile)).fleet.model("m")
    assert model is not None
    assert model.profile == profile


def test_times_may_stand_without_quotes_and_in_any_zone() -> None:
    text = write_profile(BATCHES).replace("'2023-11-14T22:13:20+00:00'", "2023-11-15T00:13:20+02:00")
    assert parse_profile(text, "profile") == (BATCHES, [])


def test_a_profile_of_another_kind_of_server_is_a_fault() -> None:
    found = faults("v", write_profile(BATCHES))
    assert found == {
        "models[0].profile": ("'m.profile.yaml'", "a profile of a model on vllm; this one is of kind triton")
    }
    assert "models[0].profile" in faults("t", write_profile(TOKENS))


def test_every_fault_of_a_profile_file_is_told_by_its_path() -> None:
    text = write_profile(BATCHES).replace("max_batch: 8", "max_batch: 0").replace("points: 14", "points: yes")
    text = text.replace("fixed_s: 0.0026", "fixed_s: -1\nfixed: 3").replace("+00:00'", "'")
    found = faults("t", text)
    assert set(found) == {
        f"models[0].profile.{key}" for key in ("max_batch", "points", "fixed_s", "fixed", "measured_at")
    }
    assert found["models[0].profile.points"] == ("true", "a whole number")
    assert "did you mean 'fixed_s'?" in found["models[0].profile.fixed"][1]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("kind: tritn\n", "models[0].profile.kind", "did you mean 'triton'? one of: triton, vllm"),
        ("[1]", "models[0].profile: the file", "a mapping of keys"),
        (
            write_profile(BATCHES)
            .replace("fixed_s: 0.0026", "fixed_s: 0")
            .replace("per_item_s: 0.0137", "per_item_s: 0"),
            "models[0].profile.fixed_s",
            "above 0 where the other seconds of its line are 0",
        ),
    ],
)
def test_what_is_no_profile_is_a_fault(text: str, path: str, words: str) -> None:
    assert words in faults("t", text)[path][1]


def test_a_file_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(f"servers: [{TRITON}]\nmodels: [{{name: m, runs_on: t, profile: nope.yaml}}]\n", {})
    (fault,) = caught.value.faults
    assert (fault.path, fault.value) == ("models[0].profile", "'nope.yaml'")
    assert "readable profile file" in fault.allowed
