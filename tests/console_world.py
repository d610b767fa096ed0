"""A control plane whose fleet has something of everything that the console shows, and names that attack it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controlplane.domain.alerts import AlertState, Severity
from controlplane.domain.decision import Decision, Reason, ReasonCode
from controlplane.domain.fleet import Mode
from controlplane.domain.gpu import GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.layouts import (
    ChangeState,
    LaidGpu,
    LaidModel,
    LaidSlice,
    LayoutChange,
    LayoutPlan,
    LayoutStep,
    MigPicture,
)
from controlplane.domain.objectives import Counts, Judgement
from controlplane.domain.observation import ControlMode, FleetReading, ServerReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.slo.alerts import AlertPolicy, judge_alerts
from tests.unit.api.fakes import NOW, FakePlane, hold, ready

HOSTILE = "<img src=x onerror=\"window.attacked='yes'\">"
_GIB = 2**30

SLICES_NOW = (
    LaidSlice("2g.20gb", 0, 2, ("bert",)),
    LaidSlice("1g.10gb", 2, 1, (HOSTILE,)),
    LaidSlice("3g.40gb", 4, 4),
)
SLICES_PLANNED = (
    LaidSlice("2g.20gb", 0, 2, ("bert",)),
    LaidSlice("2g.20gb", 2, 2, ("bert",)),
    LaidSlice("1g.10gb", 4, 1, (HOSTILE,)),
)
MIG = MigPicture(
    Mode.ACT,
    Known(
        (
            LaidGpu("GPU-a", "node-a", "NVIDIA H100 80GB HBM3", "h100-80gb", 8, SLICES_NOW, SLICES_PLANNED),
            LaidGpu("GPU-b", "node-a", "NVIDIA A30", "a30", 4, (LaidSlice("1g.6gb", 3, 1, ("bert",)),)),
            LaidGpu("GPU-c", "node-a", "NVIDIA L4", "", 0, (), None, "NVIDIA L4 is no board that can be cut"),
        ),
        NOW,
    ),
    (
        LaidModel("bert", Known(41.5, NOW), {("h100-80gb", "2g.20gb"): (30.0, 34.0, "learned")}, 11.5, 0.0),
        LaidModel(HOSTILE, Missing("triton-0 does not answer"), short_now_per_s=None, short_then_per_s=0.0),
    ),
    Known(
        LayoutPlan(
            {"GPU-a": SLICES_PLANNED},
            (
                LayoutStep(0, "create", "GPU-a", "2g.20gb", 2),
                LayoutStep(1, "drain", "GPU-a", "1g.10gb", 2, HOSTILE, interrupts=True),
            ),
            pays=True,
            reasons=("it serves 11.5/s more of bert",),
            cost=1.0,
            bound=1.0,
            gain_per_s=0.5,
            disturbance=30.0,
            pays_after_s=60.0,
            change_s=0.35,
        ),
        NOW - 30,
    ),
    LayoutChange(ChangeState.UNDER_WAY, NOW - 20, 5, 2),
)


class ConsolePlane(FakePlane):
    """What a test may change of it: `gpus`, `layouts`, `overrides`, `freezes`, and all that FakePlane has."""

    def __init__(self, directory: Path, *, extra: str = "") -> None:
        super().__init__(directory, extra=extra)
        fleet = self.loop.fleet
        watched = fleet.models[2]
        self.loop.fleet = replace(fleet, models=(*fleet.models[:2], replace(watched, name=HOSTILE)))
        self.loop.models[HOSTILE] = self.loop.models.pop("watched")
        self.health = LoopHealth(7, 1, NOW - 4.0, 0.02, interval_s=15.0, leading=True, leader="plane-0", epoch=3)
        burning = Counts(good=500, bad=500, measured_s=300.0, expected_s=300.0, bad_capacity=400)
        since = {severity: AlertState(firing_since=NOW - 600.0) for severity in Severity}
        objective = fleet.models[0].objectives[0]
        self.alerts = {"bert": judge_alerts("bert", objective, lambda _: burning, since, AlertPolicy(), NOW)[0]}
        self.layouts = MIG
        self.gpus: Signal[tuple[GpuReading, ...]] = Known(_gpus(), NOW)
        self.overrides: tuple[Override, ...] = (
            Override("ov-1", "bert", OverrideKind.INSTANCES, "ann", HOSTILE, NOW, NOW + 5400, instances=3),
        )
        self.freezes: tuple[Freeze, ...] = (
            Freeze("fr-1", "", FreezeDirection.NO_DOWN, "ben", "launch at noon", NOW, NOW + 720),
        )

    def picture(self) -> Picture:
        picture = super().picture()
        bert = self.loop.fleet.model("bert")
        extra = {} if bert is None else {"bert": (*picture.judgements["bert"], _kept(bert.objectives[1]))}
        return replace(
            picture,
            reading=self._with_gpus(picture.reading),
            judgements=extra,
            overrides=self.overrides,
            freezes=self.freezes,
            mig=self.layouts,
        )

    def _with_gpus(self, reading: FleetReading) -> FleetReading:
        return replace(reading, gpus=self.gpus, gpu_nodes={"node-b": Missing("connection refused")})


def _kept(objective: object) -> Judgement:
    counts = Counts(9990, 10, 0, 86400, 90000)
    return Judgement("bert", objective, counts, 0.999, 0.9995, 0.9, 0.1, 0.2, 0.1)  # type: ignore[arg-type]


def _gpus() -> tuple[GpuReading, ...]:
    def piece(number: int, profile: str, start: int, size: int) -> SliceReading:
        return SliceReading(
            f"MIG-{number}",
            number,
            0,
            Known(profile, NOW),
            Known(3 * _GIB, NOW),
            Known(size * 10 * _GIB, NOW),
            Known(Placement(start, size), NOW),
            Known(0.4, NOW),
        )

    return (
        GpuReading(
            "GPU-a",
            0,
            "NVIDIA H100 80GB HBM3",
            Missing("NVML tells no utilisation where MIG is on"),
            Known(9 * _GIB, NOW),
            Known(80 * _GIB, NOW),
            Known(310.0, NOW),
            Known(value=True, observed_at=NOW),
            temperature_c=Known(61, NOW),
            throttle_reasons=Known(("sw_thermal",), NOW),
            processes=Known((GpuProcess(7, Known(_GIB, NOW), "MIG-1"),), NOW),
            slices=Known((piece(1, "2g.20gb", 0, 2), piece(2, "1g.10gb", 2, 1), piece(3, "3g.40gb", 4, 4)), NOW),
            node="node-a",
        ),
    )


class LargePlane(FakePlane):
    """A fleet of many servers, each with a GPU, and a model to every four of them. `tick` goes to the next reading."""

    def __init__(self, directory: Path, servers: int) -> None:
        super().__init__(directory, configuration=_large(servers))
        self.decisions = ()
        self.ticks = 0

    def tick(self) -> None:
        """Fifteen seconds later, where one model in ten has another demand and everything was read anew."""
        self.ticks += 1
        self.loop.now += 15.0

    def picture(self) -> Picture:
        now, fleet = self.loop.now, self.loop.fleet
        models = {server: (i, m.name) for i, m in enumerate(fleet.models) for server in m.runs_on}
        return Picture(
            now,
            fleet,
            FleetReading(
                now,
                {
                    server.name: ServerReading(
                        server.name,
                        Known(value=True, observed_at=now),
                        Known(ControlMode.EXPLICIT, now),
                        1,
                        {models[server.name][1]: ready(2, now)},
                    )
                    for server in fleet.servers
                },
                {},
                {},
                Known(tuple(self._gpu(n, now) for n in range(len(fleet.servers))), now),
            ),
            {},
            tuple(self._decided(*models[server.name], server.name, now) for server in fleet.servers),
            health=LoopHealth(self.ticks, 0, now - 4.0, 0.02, interval_s=15.0, leading=True),
        )

    def _decided(self, number: int, model: str, server: str, now: float) -> Decision:
        demand = 40.0 + (self.ticks if number % 10 == 0 else 0)
        numbers = {"demand_per_s": demand, "low_per_s": demand, "high_per_s": demand}
        return replace(hold(now), model=model, server=server, reasons=(Reason(ReasonCode.DEMAND, numbers),))

    def _gpu(self, number: int, now: float) -> GpuReading:
        return GpuReading(
            f"GPU-{number}",
            0,
            "NVIDIA L4",
            Known(0.5, now),
            Known(9 * _GIB, now),
            Known(24 * _GIB, now),
            Known(70.0, now),
            Known(value=False, observed_at=now),
            node=f"node-{number}",
        )


def _large(servers: int) -> str:
    where = (
        "kind: triton, http: 'http://127.0.0.1:8000', grpc: '127.0.0.1:8001', metrics: 'http://127.0.0.1:8002/metrics'"
    )
    lines = ["mode: recommend", "servers:", *(f"  - {{name: server-{n}, {where}}}" for n in range(servers)), "models:"]
    for n in range(servers // 4):
        on = ", ".join(f"server-{4 * n + i}" for i in range(4))
        lines.append(f"  - {{name: model-{n}, runs_on: [{on}], objectives: [{{availability: 99.9%, window: 28d}}]}}")
    return "\n".join(lines)
