"""The list of adapters as a vLLM gives it, or does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.collect.http import Pages
from controlplane.collect.vllm.adapters import list_adapters
from controlplane.domain.fleet import ServerKind, ServerSpec
from controlplane.domain.signal import Missing
from tests.vllm_server import VllmServer


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    yield pages
    await pages.close()


async def test_adapters_are_listed_with_the_key_that_is_wanted(pages: Pages, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k\n", encoding="utf-8")
    async with VllmServer() as vllm:
        spec = ServerSpec("v", ServerKind.VLLM, vllm.url, "")
        vllm.adapters = {"sql": "/a"}
        assert await list_adapters(pages, spec, "", 2) == {"sql": "/a"}
        vllm.key = "k"
        assert await list_adapters(pages, spec, str(tmp_path / "key"), 2) == {"sql": "/a"}
        for file, words in (("", "HTTP 401"), (str(tmp_path / "other"), "cannot be read")):
            told = await list_adapters(pages, spec, file, 2)
            assert isinstance(told, Missing)
            assert words in told.why
    told = await list_adapters(pages, spec, "", 2)
    assert isinstance(told, Missing)
    assert "refused" in told.why
