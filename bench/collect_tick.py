"""A whole tick over many servers: read, close slices, judge, decide, write; time and memory of a process of its own.

python -m bench.collect_tick COUNT PORT...: one measurement, printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import structlog

from bench import collect_serve
from bench.collect_serve import SCRAPES_A_PAGE
from bench.figure import Figure
from controlplane.act.triton import TritonActuator
from controlplane.collect.exposition import parse
from controlplane.collect.fleet import FleetCollector
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import read_config, read_index, read_series, read_stats
from controlplane.decide.policy import Policy
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import Known
from controlplane.loop.executor import Executor
from controlplane.loop.garbage import collect_rarely
from controlplane.loop.keep import keep_s
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.slo.grace import Grace
from controlplane.store import open_store

COUNTS = (250, 500, 1000, 2000)
GOAL_COUNT, GOAL_S, GOAL_MB = 1000, 3.0, 400.0
_LINEAR = 1.25  # most that a server may cost in the largest fleet, in parts of what it costs in the smallest
_OBJECTIVES = (
    Objective(Indicator.LATENCY, 0.99, 28 * 86400.0, IndicatorSource.SERVER, 0.2),
    Objective(Indicator.AVAILABILITY, 0.999, 28 * 86400.0, IndicatorSource.SERVER),
)
_MODELS_PER_SERVER, _SERVERS_PER_MODEL = 2, 10
_SCRAPE_S, _TIMEOUT_S, _DECIDE_S = 5.0, 2.0, SCRAPES_A_PAGE * 5.0
_POLICY = Policy()
_KEEP_S = keep_s(_DECIDE_S, _POLICY)
_FILL = math.ceil(_KEEP_S / _DECIDE_S) * SCRAPES_A_PAGE  # rounds after which as much is in memory as ever will be
_TICKS, _WARM_UP = 6, 2
_START = 1_700_000_000.0


def run(*, quick: bool) -> Figure:
    """Time and memory of a tick by the number of servers; only the number of the goal when `quick`."""
    counts = (GOAL_COUNT,) if quick else COUNTS
    with subprocess.Popen([sys.executable, "-m", "bench.collect_serve"], stdout=subprocess.PIPE, text=True) as serving:
        try:
            ports = [str(port) for port in json.loads(serving.stdout.readline() if serving.stdout else "[]")]
            found = {count: _child(count, ports) for count in counts}
        finally:
            serving.kill()
    goal = found[GOAL_COUNT]
    each_s = [found[count]["cpu_s"] / count for count in counts]
    linear = each_s[-1] <= _LINEAR * each_s[0]
    met = (
        goal["total_s"] <= GOAL_S
        and goal["peak_mb"] <= GOAL_MB
        and linear
        and not any(f["missing"] for f in found.values())
    )
    return Figure(
        f"a tick over {GOAL_COUNT} servers of {goal['lines']} lines",
        f"{goal['total_s']:.2f} s (read {goal['collect_s']:.2f}, the rest {goal['tick_s']:.2f}),"
        f" {goal['peak_mb']:.0f} MB resident at most, with all {_KEEP_S / 60:g} minutes in memory that are kept",
        f"under {GOAL_S:g} s and {GOAL_MB:g} MB; CPU time by server grows by at most {_LINEAR - 1:.0%}",
        met,
        {"by_servers": found},
        tuple(_in_words(count, numbers) for count, numbers in found.items()),
    )


def _in_words(count: int, f: dict[str, Any]) -> str:
    return (
        f"{count} servers: {f['total_s']:.2f} s, {f['cpu_s']:.2f} s of CPU ({1000 * f['cpu_s'] / count:.2f} ms each),"
        f" {f['peak_mb']:.0f} MB ({f['empty_mb']:.0f} MB with nothing read)"
    )


def _child(count: int, ports: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.collect_tick", str(count), *ports], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{count} servers: {done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def fleet(count: int, ports: list[str]) -> Fleet:
    """`count` Tritons with two models to care for on each, every model on ten of them."""
    servers = []
    for n in range(count):
        url = f"http://127.0.0.1:{ports[n % len(ports)]}/{count}-{n}"
        servers.append(ServerSpec(f"triton-{n}", ServerKind.TRITON, url, f"{url}/metrics"))
    models = []
    for group in range(-(-count // _SERVERS_PER_MODEL)):
        runs_on = tuple(s.name for s in servers[group * _SERVERS_PER_MODEL : (group + 1) * _SERVERS_PER_MODEL])
        models += [
            ModelSpec(f"model-{group}-{m}", collect_serve.name(m), runs_on, Mode.RECOMMEND, _OBJECTIVES, 1, 8)
            for m in range(_MODELS_PER_SERVER)
        ]
    return Fleet(tuple(servers), tuple(models))


async def measure(count: int, ports: list[str]) -> dict[str, Any]:
    """Seconds of a round and of the tick after it, memory, and what could not be read.

    At first the time that is kept is filled by rounds of which the answers are made here, and so are two of three
    rounds afterwards; ticks come with every third round, as they do. The third round is read over HTTP and timed.
    """
    now = _START

    def clock() -> float:
        return now

    world = fleet(count, ports)
    collector = FleetCollector(
        world, timeout_s=_TIMEOUT_S, max_age_s=3 * _SCRAPE_S, clock=clock, keep_s=_KEEP_S, nvml=False
    )
    actuator = TritonActuator(world, clock=clock)  # nothing is carried out in recommend mode
    times: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = StoreThread(open_store(f"sqlite:///{Path(folder) / 'history.db'}"))
        executor = Executor(actuator, store, clock, refresh=_nothing, announce=_nothing)
        tick = Tick(
            Roster(world),
            _POLICY,
            collector,
            store,
            executor,
            clock,
            grace=Grace(_SCRAPE_S, _TIMEOUT_S),
            decide_s=_DECIDE_S,
        )
        await tick.resume()
        empty_mb = _resident_mb()
        for number in range(-_FILL, SCRAPES_A_PAGE * _TICKS):
            now += _SCRAPE_S
            real, ticks = number > 0 and number % SCRAPES_A_PAGE == 0, number % SCRAPES_A_PAGE == 0
            began, began_cpu = time.perf_counter(), time.process_time()
            if real:
                await collector.collect(now)
            else:
                _replay(collector, now, collect_serve.count(0) + number * collect_serve.STEP)
            collected = time.perf_counter()
            if ticks:
                await tick.run()
            if real:
                times.append((collected - began, time.perf_counter() - collected, time.process_time() - began_cpu))
        reading = collector.reading(now)
        await collector.close()
        await actuator.close()
        store.close()
    warm = times[_WARM_UP:]
    return {
        "total_s": median(c + t for c, t, _ in warm),
        "collect_s": median(c for c, _, _ in warm),
        "tick_s": median(t for _, t, _ in warm),
        "cpu_s": median(cpu for _, _, cpu in warm),
        "empty_mb": empty_mb,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "resident_mb": _resident_mb(),
        "missing": count * _MODELS_PER_SERVER - _whole(reading),
        "lines": sum(not line.startswith("#") for line in collect_serve.page().splitlines()),
    }


def _replay(collector: FleetCollector, now: float, count: int) -> None:
    """A round as if every server had answered at that count, each at its own moment."""
    names = [collect_serve.name(m) for m in range(_MODELS_PER_SERVER)]
    page = parse(collect_serve.counting(collect_serve.page(), count), TRITON.wanted)
    answers = TritonRound(
        now,
        read_index(collect_serve.index().encode(), names),
        read_series(page, names),
        read_stats(collect_serve.counting(collect_serve.stats(), count).encode(), names),
        {name: read_config(collect_serve.config(name).encode()) for name in names},
    )
    for number, entry in enumerate(collector._servers.values()):  # noqa: SLF001 - what HTTP would bring in more time
        if isinstance(entry.reader, TritonServer):
            entry.reader.absorb(replace(answers, at=now + number * 1e-6))


def _whole(reading: FleetReading) -> int:
    """How many models have been read without a gap for all the time that is kept."""
    kept = [s.value.intervals for r in reading.servers.values() for s in r.models.values() if isinstance(s, Known)]
    return sum(
        intervals[-1].end - intervals[0].start >= _KEEP_S and all(a.end == b.start for a, b in pairwise(intervals))
        for intervals in kept
        if intervals
    )


async def _nothing(server: str = "") -> None:
    del server


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """One measurement."""
    collect_rarely()  # as `controlplane run` does
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), sys.argv[2:]))))


if __name__ == "__main__":
    main()
