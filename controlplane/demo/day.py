"""The demo: a real Triton, a day's load in minutes, and the control plane scaling it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.demo.day_config import write_config
from controlplane.demo.day_plan import MODELS, SHORTEST_S, Day, compressed_day
from controlplane.demo.follow import Recorder
from controlplane.demo.load_plan import LoadPlan
from controlplane.demo.load_process import LoadProcess
from controlplane.demo.models_repo import write_repository
from controlplane.demo.outcome import complaints, figures
from controlplane.demo.plane_process import PlaneProcess
from controlplane.demo.record import Run, Track
from controlplane.demo.report import render
from controlplane.demo.rig import TritonRig, free_ports
from controlplane.demo.rig_errors import RigError
from controlplane.demo.rig_setup import ensure_environment
from controlplane.demo.view import View, view_for
from controlplane.domain.errors import ConfigurationError, ControlPlaneError, Fault
from controlplane.loop.clock import wall_clock

_LONGEST_S = 86400.0
_READY_WITHIN_S = 30.0
# Triton's default takes the warm-up of an added instance after all requests that wait: under a backlog that does not
# drain, a raise would not be answered and no further one possible. With the rate limiter on, it comes first.
_TRITON_ARGS = ("--rate-limit=execution_count",)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`port` of the API (0: a free one); `out` takes all files of the run (None: a new folder under ./out)."""

    duration_s: float = 180.0
    json: bool = False
    keep: bool = False
    port: int = 0
    out: Path | None = None


def run_demo(options: DemoOptions) -> int:
    """Runs the demo to its end. 0: the loop worked; 1: it did not, or the demo could not run; 130: stopped.

    Raises ConfigurationError for options that are not allowed.
    """
    if not SHORTEST_S <= options.duration_s <= _LONGEST_S:
        fault = Fault("--duration", f"{options.duration_s:g}", f"{SHORTEST_S:g} to {_LONGEST_S:g} seconds are allowed")
        raise ConfigurationError("demo", (fault,))
    try:
        return asyncio.run(_stoppable(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 130
    except ConfigurationError:
        raise
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1


async def _stoppable(options: DemoOptions) -> int:
    """The demo, stopped by SIGTERM in the same way as by Ctrl-C."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    day = compressed_day(options.duration_s)
    with view_for(day, json=options.json) as view:
        async with AsyncExitStack() as parts:
            return await Demo(options, day, view, parts).run()


class Demo:
    """One run. Everything it starts is handed to `parts`, which ends it however the run ends."""

    def __init__(self, options: DemoOptions, day: Day, view: View, parts: AsyncExitStack) -> None:
        self._options = options
        self._day = day
        self._view = view
        self._parts = parts
        self._out = _folder(options.out)

    async def run(self) -> int:
        """The whole run; see run_demo."""
        plane = await self._start()
        self._view.say(f"the control plane's console: {plane.url}")
        await self._until_loaded(plane)
        before = _cpu_ticks()
        recorder, load = await self._through_the_day(plane)
        busy = _busy_share(before, _cpu_ticks())
        found = complaints(recorder, load, self._day)
        result = figures(recorder, load) | {"cpu_share": busy, "complaints": list(found)}
        picture = self._out / "report.html"
        picture.write_text(render(self._as_run(recorder, result, found)), encoding="utf-8")
        self._summary(result, picture)
        if self._options.keep:
            self._view.say(f"left running, console at {plane.url}; Ctrl-C stops it")
            await asyncio.Event().wait()
        return 1 if found else 0

    async def _start(self) -> PlaneProcess:
        """Triton and the control plane, running."""
        environment = await asyncio.to_thread(ensure_environment, say=self._view.say)
        repository = write_repository(self._out / "models", self._out / "gpus")
        rig = TritonRig(repository, log_path=self._out / "triton.log", environment=environment, extra_args=_TRITON_ARGS)
        self._parts.push_async_callback(asyncio.to_thread, rig.stop)
        await asyncio.to_thread(rig.start)
        self._view.say(f"a real Triton in explicit mode, no model loaded: {rig.http_url}")
        ports = free_ports()
        self._grpc, self._gateway_port, api_port = rig.grpc_url, ports.metrics, self._options.port or ports.http
        config, store = self._out / "controlplane.yaml", self._out / "controlplane.db"
        write_config(
            config,
            rig,
            api_port=api_port,
            gateway_port=self._gateway_port,
            store=store,
            day_s=self._day.duration_s,
        )
        plane = await PlaneProcess.start(config, self._out / "controlplane.log", api_port)
        self._parts.push_async_callback(plane.stop)
        return plane

    async def _until_loaded(self, plane: PlaneProcess) -> None:
        """Returns when the control plane has loaded the models that must be loaded."""
        awake = {model.name for model in MODELS if not model.sleeps}
        states: dict[str, Any] = {}
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while not all(states.get(name) == "ready" for name in awake):
                    await asyncio.sleep(0.2)
                    fleet = await plane.get("fleet")
                    states = {model["name"]: model["units"][0]["state"]["value"] for model in fleet["models"]}
        except TimeoutError:
            raise RigError(f"the control plane did not load {', '.join(sorted(awake))}: {states}") from None

    async def _through_the_day(self, plane: PlaneProcess) -> tuple[Recorder, dict[str, Any]]:
        """The load, followed to its end; what was recorded, and the load generator's result."""
        plan = LoadPlan(
            grpc=self._grpc,
            profiles=self._day.profiles,
            duration_s=self._day.duration_s,
            api=plane.url,
            metrics_port=self._gateway_port,
        )
        load = await LoadProcess.start(plan, self._out)
        stopping = self._parts.push_async_callback(_stop_load, load)
        recorder: Recorder | None = None
        async for second in load.seconds():
            recorder = recorder or Recorder([model.name for model in MODELS], wall_clock() - second["t"])
            recorder.second(second, await plane.get("fleet"))
            new = recorder.changes(await plane.get("decisions?changes_only=true&limit=50"))
            self._view.second(second["t"], recorder, new)
        result = await load.wait(10.0)
        if recorder is None:
            raise RigError("the load generator ended before its first second")
        recorder.changes(await plane.get("decisions?changes_only=true&limit=1000"))
        recorder.explained({m.id: (await plane.get(f"decisions/{m.id}/explain"))["lines"] for m in recorder.marks})
        del stopping
        return recorder, result

    def _as_run(self, recorder: Recorder, result: dict[str, Any], found: tuple[str, ...]) -> Run:
        return Run(
            duration_s=result["duration_s"],
            facts=_headline_facts(result),
            phases=self._day.phases,
            tracks={
                model.name: Track(
                    model.about,
                    model.threshold_s,
                    model.target,
                    tuple(recorder.points[model.name]),
                    _model_facts(result["models"][model.name]),
                )
                for model in MODELS
            },
            marks=tuple(recorder.marks),
            complaints=found,
        )

    def _summary(self, result: dict[str, Any], picture: Path) -> None:
        say = self._view.say
        say("")
        for name, facts in ((n, _model_facts(m)) for n, m in result["models"].items()):
            say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
        say(", ".join(f"{key} {value}" for key, value in _headline_facts(result).items()))
        for line in result["complaints"]:
            say(f"did not work: {line}")
        if not result["complaints"]:
            say("the loop worked: scaled up in the burst and down after it, unloaded the idle model and woke it again")
        say(f"picture of the run: {picture}")
        if self._options.json:
            print(json.dumps(result | {"picture": str(picture)}), flush=True)


async def _stop_load(load: LoadProcess) -> None:
    with contextlib.suppress(RigError):
        await load.stop(5.0)


def _headline_facts(result: dict[str, Any]) -> dict[str, str]:
    wake = result["wake_p95_s"]
    return {
        "requests": str(result["requests"]),
        "failed": str(result["failed"]),
        "while unloaded": str(result["requests_while_unloaded"]),
        "wake p95": "-" if wake is None else f"{wake:.1f} s",
        "decisions": str(result["decisions"]),
        "actions": str(result["actions"]),
        "rollbacks": str(result["rollbacks"]),
        "CPU busy": f"{result['cpu_share']:.0%}",
    }


def _model_facts(model: dict[str, Any]) -> dict[str, str]:
    attained, p95 = model["attainment"], model["p95_s"]
    return {
        "instances": f"{model['instances_min']} to {model['instances_max']}",
        "inside the objective": "-" if attained is None else f"{attained:.1%}",
        "p95": "-" if p95 is None else f"{p95 * 1000:.0f} ms",
        "requests": str(model["requests"]),
        "loads": str(model["loads"]),
        "unloads": str(model["unloads"]),
    }


def _folder(wanted: Path | None) -> Path:
    """A folder for this run alone: its files have the names of a real control plane's, which must not be lost."""
    try:
        if wanted is None:
            return _new_folder(Path("out"))
        wanted.mkdir(parents=True, exist_ok=True)
        why = "not empty" if any(wanted.iterdir()) else ""
    except OSError as error:
        why = error.strerror or str(error)
    if why or wanted is None:
        fault = Fault("--out", f"{wanted or 'out'} ({why})", "a folder that is empty, or can be made, is allowed")
        raise ConfigurationError("demo", (fault,))
    return wanted


def _new_folder(parent: Path) -> Path:
    """The first folder demo-1, demo-2, ... that is not there yet, made."""
    number = 1
    while True:
        folder = parent / f"demo-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _cpu_ticks() -> tuple[int, int]:
    """(busy, all) clock ticks of this machine since it started; see proc(5)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _busy_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    return round((after[0] - before[0]) / max(1, after[1] - before[1]), 3)
