"""Ratios out of the history of a real Prometheus: what was counted then, whichever process began anew."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.collect.prometheus.api import Prometheus
from controlplane.config import parse_settings
from controlplane.domain.fleet import Fleet
from controlplane.loop.past import PastImport
from controlplane.store import open_store
from tests.prometheus_fixtures import RealPrometheus
from tests.prometheus_past import Scrapes

HOUR_S, EVERY_S = 3600.0, 15.0
NOW = time.time() // HOUR_S * HOUR_S  # noqa: TID251 - a real Prometheus keeps what is near its own time
START, HOURS = NOW - 8 * HOUR_S, 3
GRACE_S = 40.0


def orders(scrapes: Scrapes) -> dict[str, int]:
    """Two processes with orders by status, scraped at moments of their own; gives what came after their first scrapes.

    One begins anew in the middle of the second hour, where what it did since its last scrape is in nobody's numbers.
    """
    chance, came = random.Random(5), {"ok": 0, "failed": 0}  # noqa: S311 - a made-up history
    counts: list[dict[str, int]] = [{"ok": 100}, {"ok": 7}]
    for step in range(int(HOURS * HOUR_S / EVERY_S)):
        for i, counted in enumerate(counts):
            if i == 1 and step == 360:
                counted.clear()
                counted["ok"] = 0
            elif step:
                for status, most in (("ok", 9), ("failed", 1)):
                    count = chance.randint(0, most)
                    if count:
                        counted[status] = counted.get(status, 0) + count
                        came[status] += count
            page = "".join(f'orders_total{{status="{status}"}} {count}\n' for status, count in counted.items())
            scrapes.page(START + 2.0 + 6.5 * i + step * EVERY_S, page, job="shop", instance=f"shop-{i}")
    return came


@pytest.fixture
def remembering(prometheus_binary: str) -> Iterator[tuple[RealPrometheus, dict[str, int]]]:
    home = Path(tempfile.mkdtemp(prefix="cp-past-"))
    made, scrapes = RealPrometheus(prometheus_binary, home), Scrapes()
    came = orders(scrapes)
    try:
        made.remember(scrapes.openmetrics())
        made.start()
        yield made, came
    finally:
        made.kill()
        shutil.rmtree(home, ignore_errors=True)


def fleet(prometheus: RealPrometheus) -> Fleet:
    ratios = {
        "bad": "bad: 'orders_total{status=\"failed\"}', total: orders_total",
        "good": "good: 'orders_total{status=\"ok\"}', total: sum(orders_total)",
        "lost": "bad: 'orders_total{state=\"failed\"}', total: orders_total",
    }
    wanted = (f"{{name: {name}, target: 90%, ratio: {{prometheus: prom, {what}}}}}" for name, what in ratios.items())
    text = (
        f"prometheus: [{{name: prom, url: '{prometheus.url}'}}]\n"
        "servers: [{name: t, kind: triton, http: 'http://127.0.0.1:9', grpc: '127.0.0.1:9', metrics: 'http://127.0.0.1:9'}]\n"
        f"models: [{{name: shop, runs_on: [t], mode: observe, objectives: [{', '.join(wanted)}]}}]\n"
    )
    return parse_settings(text, {}).fleet


def test_orders_of_the_past_are_imported_as_they_were_counted(
    remembering: tuple[RealPrometheus, dict[str, int]],
) -> None:
    prometheus, came = remembering
    of = fleet(prometheus)
    store = open_store("sqlite://")
    source = Prometheus(of.prometheus[0])

    async def run() -> dict[str, str]:
        found = await PastImport(of, (), source, GRACE_S).run(store, START, NOW - HOUR_S, lambda _: None)
        return dict(found.unread)

    unread = asyncio.run(run())
    source.close()
    why = 'no series orders_total{state="failed"}, and none of orders_total has a label state'
    assert unread == {"t": "no scrape of it is known", "shop ratio_lost_prometheus": why}
    for name in ("bad", "good"):
        counts = store.counts("shop", f"ratio_{name}_prometheus", START - HOUR_S, NOW)
        assert (counts.good, counts.bad) == (came["ok"], came["failed"])
        assert counts.measured_s == pytest.approx(HOURS * HOUR_S, abs=2 * EVERY_S)
    store.close()
