"""A picture in which all is well, to be made wrong in one thing."""

from __future__ import annotations

from controlplane.act.failures import classify
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.gpu import GpuReading
from controlplane.domain.observation import ControlMode, FleetReading, Interval, ModelReading, ModelState, ServerReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.publish.alerting.conditions import conditions

NOW = 1_800_000_000.0
AN_HOUR_AGO = NOW - 3600.0
LOADED = Target(loaded=True, instances=2)
FLEET = Fleet(
    servers=(ServerSpec("t0", ServerKind.TRITON, "http://t0", "http://t0/metrics", "t0:1"),),
    models=(ModelSpec("bert", "bert", ("t0",), Mode.ACT, instances_max=4),),
)


def a_decision(*reasons: Reason, target: Target = LOADED, at: float = NOW - 5, step: Step = Step.HOLD) -> Decision:
    """A hold at two instances unless told otherwise."""
    binding = reasons[-1].code if reasons else ReasonCode.IN_PLACE
    return Decision("d-1", at, "bert", "t0", Mode.ACT, step, LOADED, target, reasons, binding)


def a_model(state: ModelState = ModelState.READY, at: float = NOW - 2, **more: object) -> Known[ModelReading]:
    """Two instances of it."""
    return Known(ModelReading(state, instances=Known(2, at), **more), at)  # type: ignore[arg-type]


def a_picture(
    *decisions: Decision,
    model: Signal[ModelReading] | None = None,
    live: Signal[bool] = Known(value=True, observed_at=NOW - 2),  # noqa: B008 - a frozen value
    gpus: Signal[tuple[GpuReading, ...]] = Missing("no driver"),  # noqa: B008
    fleet: Fleet = FLEET,
) -> Picture:
    """One model on one server, an hour after the start."""
    server = ServerReading("t0", live, Known(ControlMode.EXPLICIT, NOW), 1, {"bert": model or a_model()})
    return Picture(
        NOW,
        fleet,
        FleetReading(NOW, {"t0": server}, {}, {}, gpus),
        decisions=decisions or (a_decision(),),
        health=LoopHealth(interval_s=15.0, started_at=AN_HOUR_AGO, leading=True),
    )


def a_gpu(**signals: object) -> GpuReading:
    """One of which nothing is known but its name, unless told."""
    return GpuReading(
        "GPU-0",
        0,
        "H200",
        **{name: Missing("not asked") for name in ("utilisation", "memory_used_bytes", "power_w")},  # type: ignore[arg-type]
        **({"memory_total_bytes": Known(8_000, NOW), "mig_enabled": Known(value=False, observed_at=NOW)} | signals),  # type: ignore[arg-type]
    )


def an_interval(end: float = NOW - 2, **counts: int) -> Interval:
    """Five seconds of ten requests that succeeded, unless told otherwise."""
    counts = {"completed": 10, "failed": 0, "failed_backend": 0, "rejected": 0, "canceled": 0} | counts
    times = {"request_s": 1.0, "queue_s": 0.0}
    return Interval(end - 5, end, **counts, **times, pending_start=0, pending_end=0, running_max=2, instances=2)  # type: ignore[arg-type]


def found(picture: Picture, *alerts: AlertName) -> list[Condition]:
    """The conditions of these alerts, of all where none is named."""
    return [one for one in conditions(picture, classify) if not alerts or one.alert in alerts]
