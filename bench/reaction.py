"""Reaction on a real Triton: load steps at random phase, with the intervals that a user gets by default."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.figure import Figure
from controlplane.act.triton import TritonActuator
from controlplane.demo.load_plan import LoadPlan, Profile
from controlplane.demo.load_process import LoadProcess
from controlplane.demo.models_repo import write_repository
from controlplane.demo.plane_process import PlaneProcess
from controlplane.demo.rig import TritonRig, free_ports
from controlplane.demo.rig_errors import RigError
from controlplane.domain.decision import Action, ActionStatus, Step, Target
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.instance_groups import total_instances
from controlplane.loop.clock import wall_clock

MODEL, SERVER = "bert_classifier", "triton"
THRESHOLD_S, TARGET = 0.3, 0.95
INTERVAL_S = 15.0  # the default of `decide`
LOW_PER_S, LOW_S, HIGH_S = 20.0, 20.0, 45.0
_RATES_PER_S = (160.0, 110.0, 190.0, 130.0)
_ONE_PER_S = 71.0  # what one instance serves at its largest batch: where the search for the sufficient count begins
_TRIAL_S = 10.0
_MOST = 8
_TRITON_ARGS = ("--rate-limit=execution_count",)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Reaction:
    """One load step. Times in seconds since the step, latencies in seconds."""

    rate_per_s: float
    phase_s: float
    sufficient: int
    before: int
    peak: int
    ready_after_s: float | None
    failed: int
    p95_before_s: float
    p95_worst_s: float
    p95_after_s: float

    @property
    def good(self) -> bool:
        """Whether it met the goal."""
        in_time = self.ready_after_s is not None and self.ready_after_s <= 2 * INTERVAL_S
        return in_time and self.peak <= self.sufficient + 1 and self.before == 1 and self.failed == 0


def run(*, steps: int, seed: int, say: Say) -> Figure:
    """The reactions to `steps` load steps. Raises RigError, RigUnavailableError."""
    with tempfile.TemporaryDirectory() as folder:
        repository = write_repository(Path(folder) / "models", Path(folder) / "gpus", [MODEL])
        rig = TritonRig(repository, load=[MODEL], log_path=Path(folder) / "triton.log", extra_args=_TRITON_ARGS)
        with rig:
            reactions = asyncio.run(_Bench(rig, Path(folder), say).run(steps, seed))
    late = [r.ready_after_s for r in reactions if r.ready_after_s is not None]
    slowest = f"{max(late) / INTERVAL_S:.1f} intervals" if len(late) == len(reactions) else "never in one case"
    over = max(r.peak - r.sufficient for r in reactions)
    return Figure(
        "reaction to a load step",
        f"enough ready within {slowest}; peak {over:+d} of the sufficient count; "
        f"{sum(r.failed for r in reactions)} failed requests",
        f"within 2 intervals of {INTERVAL_S:g} s, peak at most +1, none raised before the step, none failed",
        all(r.good for r in reactions),
        {"steps": [asdict(r) for r in reactions], "interval_s": INTERVAL_S, "seed": seed},
        tuple(_in_words(r) for r in reactions),
    )


class _Bench:
    """One Triton, measured and then scaled by control planes that know nothing of its past."""

    def __init__(self, rig: TritonRig, folder: Path, say: Say) -> None:
        self._rig = rig
        self._folder = folder
        self._say = say

    async def run(self, steps: int, seed: int) -> list[Reaction]:
        source = random.Random(seed)
        found = []
        for number in range(steps):
            rate_per_s, phase_s = _RATES_PER_S[number % len(_RATES_PER_S)], source.uniform(0, INTERVAL_S)
            sufficient = await self._sufficient(rate_per_s)
            self._say(f"  {rate_per_s:g}/s: {sufficient} instances hold the objective")
            await self._set_count(1)
            found.append(await self._react(number, rate_per_s, phase_s, sufficient))
            self._say(f"  {_in_words(found[-1])}")
        return found

    async def _sufficient(self, rate_per_s: float) -> int:
        """The smallest count that holds the objective under the steady load, measured."""
        count = max(1, round(rate_per_s / _ONE_PER_S))
        if await self._holds(count, rate_per_s):
            while count > 1 and await self._holds(count - 1, rate_per_s):
                count -= 1
            return count
        while count < _MOST:
            count += 1
            if await self._holds(count, rate_per_s):
                return count
        raise RigError(f"{_MOST} instances do not hold {rate_per_s:g}/s on this machine")

    async def _holds(self, count: int, rate_per_s: float) -> bool:
        await self._set_count(count)
        plan = LoadPlan(
            grpc=self._rig.grpc_url, profiles={MODEL: Profile(((0.0, rate_per_s),))}, duration_s=_TRIAL_S, drain_s=30
        )
        load = await LoadProcess.start(plan, self._folder / "trial")
        result = (await load.wait(_TRIAL_S + 40))["models"][MODEL]
        p95_s = result["p95_s"]
        return result["failed"] == 0 and p95_s is not None and p95_s <= THRESHOLD_S

    async def _set_count(self, count: int) -> None:
        spec = ServerSpec(SERVER, ServerKind.TRITON, self._rig.http_url, self._rig.metrics_url, self._rig.grpc_url)
        actuator = TritonActuator(Fleet((spec,), ()), clock=wall_clock)
        try:
            target = Target(loaded=True, instances=count)
            outcome = await actuator.apply(Action("bench", MODEL, SERVER, Step.SET_INSTANCES, target, wall_clock()))
        finally:
            await actuator.close()
        if outcome.status is not ActionStatus.SUCCEEDED:
            raise RigError(f"setting {count} instances: {outcome.detail}; {outcome.remedy}")

    async def _react(self, number: int, rate_per_s: float, phase_s: float, sufficient: int) -> Reaction:
        folder = self._folder / f"step{number}"
        folder.mkdir()
        ports = free_ports()
        config = folder / "controlplane.yaml"
        config.write_text(yaml.safe_dump(self._config(folder, ports.http, ports.metrics)), encoding="utf-8")
        plane = await PlaneProcess.start(config, folder / "log", ports.http)
        try:
            step_s = LOW_S + phase_s
            profile = Profile(((0, LOW_PER_S), (step_s, LOW_PER_S), (step_s, rate_per_s)))
            plan = LoadPlan(
                grpc=self._rig.grpc_url,
                profiles={MODEL: profile},
                duration_s=step_s + HIGH_S,
                seed=number + 1,
                metrics_port=ports.metrics,
            )
            load = await LoadProcess.start(plan, folder)
            counts, windows = await self._follow(load)
            result = await load.wait(20)
        finally:
            await plane.stop()
        return _reaction(rate_per_s, phase_s, sufficient, step_s, counts, windows, result)

    def _config(self, folder: Path, api_port: int, gateway_port: int) -> dict[str, Any]:
        """Everything that is not named here is as a user gets it: 5 s between readings, 15 s between decisions."""
        return {
            "store": f"sqlite:///{folder}/history.db",
            "mode": "act",
            "api": {"port": api_port},
            "servers": [
                {
                    "name": SERVER,
                    "kind": "triton",
                    "http": self._rig.http_url,
                    "grpc": self._rig.grpc_url,
                    "metrics": self._rig.metrics_url,
                }
            ],
            "gateways": [
                {
                    "name": "load",
                    "page": f"http://127.0.0.1:{gateway_port}/metrics",
                    "histogram": "gateway_request_duration_seconds",
                }
            ],
            "models": [
                {
                    "name": MODEL,
                    "runs_on": [SERVER],
                    "instances": {"min": 1, "max": _MOST},
                    "objectives": [
                        {
                            "latency": f"{THRESHOLD_S * 1000:g}ms",
                            "target": f"{TARGET:.0%}",
                            "window": "1h",
                            "source": "gateway",
                        }
                    ],
                }
            ],
        }

    async def _follow(self, load: LoadProcess) -> tuple[list[tuple[float, int]], list[dict[str, Any]]]:
        """(second, count) as Triton itself says it, four times a second, and the load's windows of a second each."""
        counts: list[tuple[float, int]] = []
        windows: list[dict[str, Any]] = []
        began_s: float | None = None

        async def watch() -> None:
            while True:
                count = await asyncio.to_thread(self._count)
                if began_s is not None:
                    counts.append((time.perf_counter() - began_s, count))
                await asyncio.sleep(0.25)

        watching = asyncio.create_task(watch())
        try:
            async for second in load.seconds():
                began_s = began_s or time.perf_counter() - second["t"]
                windows.append(second["models"][MODEL])
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        return counts, windows

    def _count(self) -> int:
        with urllib.request.urlopen(f"{self._rig.http_url}/v2/models/{MODEL}/config", timeout=5) as answer:  # noqa: S310
            return total_instances(json.load(answer))


def _reaction(
    rate_per_s: float,
    phase_s: float,
    sufficient: int,
    step_s: float,
    counts: list[tuple[float, int]],
    windows: list[dict[str, Any]],
    result: dict[str, Any],
) -> Reaction:
    def p95s(since: float, until: float) -> list[float]:
        return [w["p95_s"] for w in windows if since <= w["t"] < until and w["p95_s"] is not None]

    end_s = step_s + HIGH_S
    return Reaction(
        rate_per_s=rate_per_s,
        phase_s=round(phase_s, 2),
        sufficient=sufficient,
        before=max(count for at_s, count in counts if at_s < step_s),
        peak=max(count for _, count in counts),
        ready_after_s=next((round(at_s - step_s, 2) for at_s, n in counts if at_s >= step_s and n >= sufficient), None),
        failed=result["failed"] + result["unfinished"],
        p95_before_s=median(p95s(5.0, step_s)),
        p95_worst_s=max(p95s(step_s, end_s)),
        p95_after_s=median(p95s(end_s - 10.0, end_s)),
    )


def _in_words(r: Reaction) -> str:
    ready = "never enough" if r.ready_after_s is None else f"enough after {r.ready_after_s:.1f} s"
    return (
        f"{LOW_PER_S:g} -> {r.rate_per_s:g}/s at +{r.phase_s:.1f} s: {ready}, peak {r.peak} of {r.sufficient}"
        f" sufficient, p95 {r.p95_before_s * 1000:.0f} -> {r.p95_worst_s * 1000:.0f} -> {r.p95_after_s * 1000:.0f} ms"
    )
