"""Burn alerts as values: what is watched, how it stands, and why it does or does not fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from controlplane.domain.objectives import Counts


class Severity(StrEnum):
    """Whom an alert reaches."""

    PAGE = "page"
    """Wakes somebody."""
    TICKET = "ticket"
    """Is looked at in working hours."""
    INFO = "info"
    """Is told, and nobody need do anything."""


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """One pair of windows: `budget_share` of the budget spent within `long_s` is too much.

    The alert also needs the burn rate of the last `short_s`, so that it ends soon after the trouble does.
    """

    severity: Severity
    budget_share: float
    long_s: float
    short_s: float


@dataclass(frozen=True, slots=True)
class BurnReading:
    """One pair of windows now. `factor` is the burn rate that is too much; `repaired`: lowered, or it could never fire.

    Burn rates are those of events that are bad for certain, None without events. `exceeded` is whether both are above
    the factor, `held_back` why they do not count all the same, empty where they do.
    """

    window: BurnWindow
    factor: float
    repaired: bool
    long: Counts
    short: Counts
    burn_long: float | None
    burn_short: float | None
    exceeded: bool
    held_back: str = ""


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is remembered of an alert from tick to tick; None: not so.

    `clear_since`: since when a firing alert's burn rates are low enough for it to end.
    """

    firing_since: float | None = None
    clear_since: float | None = None
    frozen_since: float | None = None


AlertStates: TypeAlias = Mapping[str, AlertState]
"""By `alert_key`."""


def alert_key(model: str, objective: str, severity: Severity) -> str:
    """The name of an alert."""
    return f"{model}/{objective}/{severity.value}"


def of_alert_key(key: str) -> tuple[str, str, Severity]:
    """Model, objective and severity in the name of an alert; names of models hold no slash."""
    model, _, rest = key.partition("/")
    objective, _, severity = rest.rpartition("/")
    return model, objective, Severity(severity)


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """The alert of one severity of one objective.

    `frozen`: why it cannot be judged now and stays what it was; `frozen_since`: from when on it could not.

    `capacity_share` is the share of the bad events of the readings that exceed (of all, where none does) which capacity
    explains; None without bad events.
    """

    model: str
    objective: str
    severity: Severity
    firing: bool
    since: float | None
    frozen: str
    readings: tuple[BurnReading, ...]
    capacity_share: float | None
    frozen_since: float | None = None
