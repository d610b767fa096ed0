"""The table of models that generate text, on wide and narrow terminals, and what it says of what is not known."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from controlplane.api.views.serving import ServingView
from controlplane.cli import tables
from controlplane.cli.serving_tables import serving_table
from controlplane.collect.servers import scraped
from controlplane.collect.triton.detail import REFUSED
from controlplane.collect.vllm.server import VllmServer
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.signal import Known, Signal
from tests.unit.collect.pages import absorb, recorded

NOW = 25.0


def vllm(*pages: str) -> Signal[ModelReading]:
    spec = ServerSpec("vllm-0", ServerKind.VLLM, "", "")
    server = VllmServer(
        spec, [ModelSpec("llm", "tiny", ("vllm-0",), Mode.ACT)], scraped(spec, ()), max_age_s=15, keep_s=900
    )
    for at, page in zip((5.0, NOW), pages, strict=True):
        absorb(server, at, page)
    return server.reading(NOW).models["llm"]


def units(**seen: Signal[ModelReading]) -> list[dict[str, Any]]:
    shown = []
    for name, signal in seen.items():
        assert isinstance(signal, Known)
        view = ServingView.of(signal, signal.value, NOW, 15.0)
        shown.append({"name": name, "units": [{"server": f"{name}-0", "serving": view.model_dump(mode="json")}]})
    return shown


def text(models: list[dict[str, Any]], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    monkeypatch.setattr(tables, "console", lambda: out)
    made = serving_table(models)
    assert made is not None
    out.print(made)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


LOADED = recorded("vllm-0.32.0-under-load.txt")
EARLIER = recorded("vllm-0.32.0-after-40-requests.txt")


def test_a_server_that_generates_no_text_has_no_row() -> None:
    triton = Known(ModelReading(ModelState.READY, refused=REFUSED), NOW)
    assert serving_table(units(bert=triton)) is None


def test_tokens_and_the_cache_of_the_recorded_server_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    row = text(units(llm=vllm(EARLIER, LOADED)), 160, monkeypatch).splitlines()[3]
    assert row.split() == ["llm", "llm-0", "7.6", "171", "0.0%", "0.5%", "of", "1.05M", "0", "no", "-"]


def test_why_something_is_not_known_is_said_once_for_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = vllm(EARLIER, LOADED)
    shown = text(units(a=seen, b=seen, c=seen, d=seen), 160, monkeypatch)
    assert "a on a-0, b on b-0, c on c-0 and 1 more: adapters: not exported: without --enable-lora" in shown
    assert shown.count("adapters: not exported") == 1


def test_sleep_and_adapters_that_wait_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    page = LOADED.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    page = page.replace('sleep_state="discard_all"} 0.0', 'sleep_state="discard_all"} 1.0')
    page += 'vllm:lora_requests_info{max_lora="1",running_lora_adapters="a",waiting_lora_adapters="b,c"} 1.7e9\n'
    shown = text(units(llm=vllm(EARLIER, page)), 160, monkeypatch)
    assert "discarded" in shown
    assert "a +2 waiting" in shown


def test_it_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = text(units(llm=vllm(EARLIER, LOADED)), 80, monkeypatch)
    assert max(map(len, shown.splitlines())) <= 80
    assert "of 1.05M" in shown
