"""Parsing a recorded vLLM page, against prometheus_client's parser on the same page."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.figure import Figure
from bench.timing import best_s
from controlplane.collect.exposition import PageReader, parse
from controlplane.collect.vllm.signals import VLLM

_PAGE = Path(__file__).parents[1] / "tests" / "pages" / "vllm-0.32.0-under-load.txt"
_GOAL = 25.0


def run() -> Figure:
    """How many times faster our parser reads the page, and that both read the same."""
    page = _PAGE.read_text(encoding="utf-8")
    # a real server's counters move between scrapes, so that no two pages are the same text
    pages = [page.replace(" 1.0\n", f" 1.{n}\n") for n in range(50)]
    theirs_s = best_s(lambda: list(text_string_to_metric_families(page)))
    reader = PageReader(VLLM.wanted)  # one for each target, as the collector has them
    ours_s = best_s(lambda: [reader.parse(text) for text in pages]) / len(pages)
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in VLLM.wanted
    }
    ours = {
        (name, tuple(sorted(labels.items()))): value
        for name, samples in parse(page, VLLM.wanted).items()
        for labels, value in samples
    }
    ratio = theirs_s / ours_s
    return Figure(
        "parse a vLLM page",
        f"{ratio:.0f} times as fast as prometheus_client ({ours_s * 1e6:.0f} us for {len(page) / 1024:.0f} KB),"
        f" {'the same' if ours == theirs else 'OTHER'} values of {len(theirs)} samples",
        f"at least {_GOAL:g} times, same values",
        ratio >= _GOAL and ours == theirs,
        {"ratio": ratio, "ours_s": ours_s, "prometheus_client_s": theirs_s, "bytes": len(page), "same": ours == theirs},
    )
