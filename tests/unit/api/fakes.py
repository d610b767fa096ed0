"""A control plane without a loop: the real desk on a real store, over a world that the test writes down."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from controlplane.config import Settings, parse_settings
from controlplane.domain.alerts import BurnAlert
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, Reason, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Member, Mode
from controlplane.domain.gpu import GpuReading
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.objectives import Counts, Judgement
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.records import TickRecord
from controlplane.domain.rollout import Rollout
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.domain.state import PolicyState, unit_key
from controlplane.loop.desk import Desk
from controlplane.loop.hooks import Inbox
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.notices import Notifier
from controlplane.loop.present import fulfilled
from controlplane.loop.slo_desk import SloDesk
from controlplane.loop.store_thread import StoreThread
from controlplane.publish.metrics.page import PictureMetrics
from controlplane.store import open_store

NOW = 1_800_000_000.0

CONFIGURATION = """
mode: recommend
servers:
  - {name: triton-0, kind: triton, http: "http://127.0.0.1:8000", grpc: "127.0.0.1:8001", metrics: "http://127.0.0.1:8002/metrics"}
models:
  - name: bert
    runs_on: [triton-0]
    instances: {min: 1, max: 8}
    idle_unload: 30m
    wake: {ensure: true}
    objectives:
      - {availability: 99.9%, window: 28d}
      - {latency: 100ms, target: 99%, window: 28d, source: mean_slices}
  - {name: resnet, runs_on: [triton-0], instances: {min: 1, max: 4}}
  - {name: watched, runs_on: [triton-0], mode: observe}
"""


class FakeLoop:
    """A world that obeys overrides and wants when somebody waits, unless `refuses` says why not."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.fleet = settings.fleet
        self.now = now
        self.live: Signal[bool] = Known(value=True, observed_at=now)
        self.models: dict[str, Signal[ModelReading]] = {
            "bert": ready(2, now),
            "resnet": Known(ModelReading(ModelState.UNLOADED, instances=Known(0, now)), now),
            "watched": Stale(ModelReading(ModelState.READY, instances=Known(1, now - 60)), now - 60, 60.0, "timed out"),
        }
        self.refuses = ""
        self.obedient = True
        self.nudges = 0
        self.stands: dict[str, Rollout] = {}
        self.store: StoreThread | None = None
        self._outcomes: dict[str, Outcome] = {}

    def clock(self) -> float:
        return self.now

    def nudge(self) -> None:
        self.nudges += 1

    def reading(self) -> FleetReading:
        return FleetReading(
            at=self.now,
            servers={
                "triton-0": ServerReading(
                    "triton-0", self.live, Known(ControlMode.EXPLICIT, self.now), 1, dict(self.models)
                )
            },
            latencies={},
            probes={},
            gpus=Known((_GPU,), self.now),
        )

    async def refresh(self, servers: Collection[str]) -> None:
        assert set(servers) <= {"triton-0"}

    async def changed(self, timeout_s: float) -> None:
        assert self.store is not None
        overrides = await self.store.call(lambda s: s.overrides(self.now))
        wants = await self.store.call(lambda s: s.wants())
        if self.refuses:
            for model in {o.model for o in overrides} | {w.model for w in wants}:
                self._fail(model)
        elif self.obedient:
            for override in overrides:
                if not fulfilled(self.reading(), override, "triton-0"):
                    self._obey(override.model, override.kind, override.instances)
            for want in wants:
                if want.model not in {o.model for o in overrides}:
                    self._obey(want.model, OverrideKind.LOADED, None)
        await asyncio.sleep(0)
        self.now += min(timeout_s, 1.0)

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Where rollouts stand, by unit."""
        return self.stands

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        return self._outcomes.get(unit_key(model, server))

    def _obey(self, model: str, kind: OverrideKind, instances: int | None) -> None:
        if kind is OverrideKind.UNLOADED:
            self.models[model] = Known(ModelReading(ModelState.UNLOADED, instances=Known(0, self.now)), self.now)
        else:
            self.models[model] = ready(instances or 1, self.now)

    def _fail(self, model: str) -> None:
        action = Action("de-0", model, "triton-0", Step.LOAD, Target(loaded=True, instances=1), self.now)
        self._outcomes[unit_key(model, "triton-0")] = Outcome(
            action, ActionStatus.FAILED, self.now, self.refuses, FailureClass.OUT_OF_MEMORY, "unload another model"
        )


class FakePlane:
    """What the API sees of a control plane; `health` and `decisions` are the test's to set."""

    def __init__(
        self, directory: Path, *, now: float = NOW, extra: str = "", configuration: str = CONFIGURATION
    ) -> None:
        self.settings = parse_settings(configuration + extra, {})
        self.workloads: dict[str, Signal[tuple[Member, ...]]] = {}
        self.loop = FakeLoop(self.settings, now)
        self.store = StoreThread(open_store(f"sqlite:///{directory / 'history.db'}"))
        self.loop.store = self.store
        self.desk = Desk(self.loop, self.store, self.store, self.loop.clock)
        self.slo = SloDesk(self.loop, self.store, self.store, self.loop.clock)
        self.inbox = Inbox(self.loop, self.store, self.store, self.loop.clock, self.settings.alerts)
        self.notifier = Notifier(self.picture, (), self.settings.alerts, self.loop.clock)
        self.mig = MigPlanner(self.settings.mig, self.settings.prices, max_age_s=60.0)
        self.health = LoopHealth(ticks=7, skipped=1, last_tick_at=now - 4.0, last_tick_s=0.02)
        self.decisions: tuple[Decision, ...] = (scale_up(now - 4.0), hold(now - 4.0))
        self.alerts: dict[str, tuple[BurnAlert, ...]] = {}
        self.registry = CollectorRegistry()
        self.registry.register(PictureMetrics(self.picture, 45.0))

    def picture(self) -> Picture:
        bert = self.loop.fleet.model("bert")
        assert bert is not None
        judgement = Judgement("bert", bert.objectives[0], Counts(990, 10, 0, 60, 120), 0.99, 0.99, -9.0, 2.0, 1.5, None)
        return Picture(
            self.loop.now,
            self.loop.fleet,
            self.loop.reading(),
            {"bert": (judgement,)},
            self.decisions,
            health=self.health,
            workloads=self.workloads,
            alerts=self.alerts,
            mig=self.mig.picture(self.loop.fleet, self.loop.reading(), self.loop.now),
        )

    async def write_decisions(self) -> None:
        """Keep the decisions, as a tick does."""
        record = TickRecord(self.loop.now, (), self.decisions, (), PolicyState())
        await self.store.call(lambda s: s.write_tick(record))

    def close(self) -> None:
        self.mig.close()
        self.store.close()


def ready(instances: int, now: float) -> Known[ModelReading]:
    return Known(ModelReading(ModelState.READY, instances=Known(instances, now), pending=Known(3, now)), now)


def scale_up(at: float) -> Decision:
    return Decision(
        "de-0001-up",
        at,
        "bert",
        "triton-0",
        Mode.RECOMMEND,
        Step.SET_INSTANCES,
        Target(loaded=True, instances=2),
        Target(loaded=True, instances=4),
        (
            Reason(ReasonCode.DEMAND, {"demand_per_s": 41.5, "low_per_s": 40.0, "high_per_s": 42.0}),
            Reason(ReasonCode.CAPACITY, {"instances": 4, "capacity_per_s": 44.0, "fixed_ms": 8.0, "per_item_ms": 2.0}),
        ),
        ReasonCode.DEMAND,
    )


def hold(at: float) -> Decision:
    return Decision(
        "de-0002-hold",
        at,
        "resnet",
        "triton-0",
        Mode.RECOMMEND,
        Step.HOLD,
        None,
        None,
        (Reason(ReasonCode.DATA_MISSING, {}, {"why": "timed out"}),),
        ReasonCode.DATA_MISSING,
    )


_GPU = GpuReading(
    "GPU-1",
    0,
    "Fake 80GB",
    Known(0.5, NOW),
    Known(2**30, NOW),
    Missing("not told"),
    Known(100.0, NOW),
    Known(value=False, observed_at=NOW),
)
