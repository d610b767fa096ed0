"""Pages that come compressed or as OpenMetrics: unpacked up to the cap, and only when whole."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from controlplane.collect.http import LIMIT_BYTES, Pages
from controlplane.domain.errors import MalformedPageError
from tests.integration.test_collect_misbehaving import PAGE, answer, says, serving

PACKED = "Content-Encoding: gzip\r\n"
OPENMETRICS = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"


async def text_of(body: bytes, headers: str, length: int | None = None) -> str:
    pages = Pages()
    async with serving(says(answer(body, headers=headers, length=length))) as url:
        try:
            return await pages.get_text("t", url, 5)
        finally:
            await pages.close()


async def test_a_compressed_page_is_unpacked() -> None:
    assert await text_of(gzip.compress(PAGE), PACKED) == PAGE.decode()


async def test_a_bomb_is_cut_off_at_the_cap_and_costs_no_memory_beyond_it() -> None:
    bomb = gzip.compress(b"a 1\n" * (64 * LIMIT_BYTES // 4), compresslevel=1)
    tracemalloc.start()
    with pytest.raises(MalformedPageError, match="t: larger than 8 MiB"):
        await text_of(bomb, PACKED)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * LIMIT_BYTES


async def test_a_compressed_page_as_large_as_the_cap_is_read_whole() -> None:
    page = b"a 1\n" * (LIMIT_BYTES // 4)
    assert len(await text_of(gzip.compress(page, compresslevel=1), PACKED)) == LIMIT_BYTES


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (gzip.compress(PAGE)[:-9], PACKED, "cut short: its gzip data do not end"),
        (gzip.compress(PAGE)[:-4] + b"0000", PACKED, "damaged"),
        (PAGE, PACKED, "damaged"),
        (gzip.compress(PAGE) + gzip.compress(PAGE), PACKED, "in several parts"),
        (PAGE, "Content-Encoding: br\r\n", "compressed by 'br'; understood is gzip"),
        (b"a 1\n", OPENMETRICS, "cut short: it does not end with '# EOF'"),
    ],
)
async def test_half_a_page_is_malformed_and_says_why(body: bytes, headers: str, why: str) -> None:
    with pytest.raises(MalformedPageError, match=why):
        await text_of(body, headers)


@pytest.mark.parametrize("end", ["# EOF", "# EOF\n"])
async def test_openmetrics_to_its_end_is_whole(end: str) -> None:
    assert await text_of(f"a 1\n{end}".encode(), OPENMETRICS) == f"a 1\n{end}"
