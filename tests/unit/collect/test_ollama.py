from __future__ import annotations

import pytest

from controlplane.collect.ollama import OllamaServer
from controlplane.collect.servers import scraped
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.signal import Known, Missing
from tests.unit.collect.pages import absorb, recorded


def read(text: str, *names: str) -> dict[str, ModelReading]:
    spec = ServerSpec("o", ServerKind.OLLAMA, "", "")
    models = [ModelSpec(name, name, ("o",), Mode.OBSERVE) for name in names]
    one = OllamaServer(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)
    absorb(one, 5, text)
    absorb(one, 10, text)
    found = one.reading(10).models
    return {name: signal.value for name, signal in found.items() if isinstance(signal, Known)}


def test_a_model_in_memory_is_ready_with_its_memory_and_the_time_it_is_unloaded_at() -> None:
    models = read(recorded("ollama-ps-documented.json"), "mistral", "qwen2.5:0.5b")
    assert models["mistral"].state is ModelState.READY
    assert models["mistral"].reason == "3.853 GiB of GPU memory; unloaded at 2026-06-04T14:38:31.83753-07:00"
    assert models["qwen2.5:0.5b"].instances == Known(1, 10)


def test_a_model_that_is_not_in_memory_is_unloaded() -> None:
    models = read(recorded("ollama-ps-documented.json"), "qwen2.5")
    assert (models["qwen2.5"].state, models["qwen2.5"].instances) == (ModelState.UNLOADED, Known(0, 10))


def test_requests_are_missing_and_not_zero() -> None:
    (mistral,) = read(recorded("ollama-ps-documented.json"), "mistral").values()
    assert (mistral.pending, mistral.running) == (Missing("not exported"), Missing("not exported"))
    assert mistral.intervals == ()


@pytest.mark.parametrize("text", ["", "<html>", "[]", '{"models": [{}]}'])
def test_another_answer_is_malformed(text: str) -> None:
    with pytest.raises(MalformedPageError, match="not a list of loaded models"):
        read(text)
