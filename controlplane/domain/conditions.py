"""What is wrong now, as values: each is the ground of one alert, whoever sends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlertName(StrEnum):
    """Every alert there is. What each means and what to do is a page in docs/runbooks."""

    ERROR_BUDGET_BURN = "ErrorBudgetBurn"
    ERROR_BUDGET_EXHAUSTED = "ErrorBudgetExhausted"
    OBJECTIVE_UNMEASURED = "ObjectiveUnmeasured"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    MODEL_FAILING = "ModelFailing"
    CAPACITY_REFUSED = "CapacityRefused"
    STARTUP_SLOW = "StartupSlow"
    SCALING_FLAPPING = "ScalingFlapping"
    MIG_CHANGE_FAILED = "MigChangeFailed"
    MIG_RESET_PENDING = "MigResetPending"
    GPU_XID = "GpuXid"
    GPU_ECC = "GpuEcc"
    GPU_THROTTLED = "GpuThrottled"
    SERVER_DOWN = "ServerDown"
    SCRAPE_STALE = "ScrapeStale"
    OVERRIDE_ENDING = "OverrideEnding"
    STORE_FAILING = "StoreFailing"
    CONTROL_PLANE_LATE = "ControlPlaneLate"
    CONTROL_PLANE_NOT_LEADING = "ControlPlaneNotLeading"
    CONTROL_PLANE_DOWN = "ControlPlaneDown"
    WATCHDOG = "Watchdog"
    """Always fires: where it stops, alerting is broken (dead man's switch)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong now. What does not apply is empty.

    `kind` tells alike ones apart (of an override its kind), `cause` is a code out of a bounded set (a failure class, a
    reason), `detail` is for people and no label.
    """

    alert: AlertName
    model: str = ""
    objective: str = ""
    workload: str = ""
    server: str = ""
    node: str = ""
    gpu: str = ""
    kind: str = ""
    cause: str = ""
    detail: str = ""
