"""How fast a budget may burn before somebody is told: windows and factors as data, and whether they can fire at all.

Google SRE workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": https://sre.google/workbook/alerting-on-slos/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.domain.alerts import BurnWindow, Severity
from controlplane.domain.objectives import SLICE_S, Counts, Objective

_HOUR_S = 3600.0
_DAY_S = 86400.0

WORKBOOK = (
    BurnWindow(Severity.PAGE, 0.02, _HOUR_S, _HOUR_S / 12),
    BurnWindow(Severity.PAGE, 0.05, 6 * _HOUR_S, 6 * _HOUR_S / 12),
    BurnWindow(Severity.TICKET, 0.10, _DAY_S, _DAY_S / 12),
    BurnWindow(Severity.TICKET, 0.10, 3 * _DAY_S, 3 * _DAY_S / 12),
)
"""For windows of four weeks or a month."""

MOST_BAD = 0.8
"""A share of bad events that must fire: where the workbook's factor asks for more than this, it is lowered to it."""
_SHORT_SHARES = {Severity.PAGE: 0.5, Severity.TICKET: 0.25}
"""Budget shares within a quarter of an objective's window, for windows too short for the workbook's: burn 2 and 1."""
Z = 1.645
"""One-sided 95 %."""


@dataclass(frozen=True, slots=True)
class BurnFactor:
    """The burn rate above which a window's alert fires; `workbook` is what its budget share alone would ask for."""

    window: BurnWindow
    factor: float
    workbook: float

    @property
    def repaired(self) -> bool:
        """Whether the workbook's could never fire, so that a lower one stands in."""
        return self.factor < self.workbook


def factors(
    objective: Objective, windows: Sequence[BurnWindow] = WORKBOOK, *, grace_s: float = 0.0
) -> tuple[BurnFactor, ...]:
    """What the burn rate of each window must be above for `objective`.

    A burn rate is at most 1 / (1 - target), reached when every event is bad: at 90 % the page of the fast window (14.4)
    could never fire, so factors above MOST_BAD of that are lowered to it. None is under 1, at which the budget is just
    spent over the objective's window. What sources tell comes all at once every `grace_s` seconds at the latest: no
    short window is shorter, or there would be nothing in it most of the time.
    """
    most = MOST_BAD / (1.0 - objective.target)
    found = []
    for window in _fitting(objective.window_s, windows):
        workbook = max(1.0, window.budget_share * objective.window_s / window.long_s)
        short_s = min(window.long_s, max(window.short_s, grace_s))
        found.append(BurnFactor(replace(window, short_s=short_s), min(workbook, most), workbook))
    return tuple(found)


def _fitting(objective_s: float, windows: Sequence[BurnWindow]) -> list[BurnWindow]:
    """Windows within a quarter of the objective's; for a severity without one, a quarter of it."""
    longest_s = objective_s / 4
    fitting = [window for window in windows if window.long_s <= longest_s]
    lacking = {window.severity: window for window in windows if window.severity not in {w.severity for w in fitting}}
    for severity in lacking:
        share = _SHORT_SHARES[severity]
        fitting.append(BurnWindow(severity, share, longest_s, max(SLICE_S, longest_s / 12)))
    return fitting


def wilson_low(bad: float, events: float) -> float:
    """The least share of bad events that the counts speak for, at 95 % one-sided; 0 without events.

    Wilson score interval: E. B. Wilson, JASA 22 (1927) 209. One failure of 30 requests speaks for 0.75 %, three for
    4 %.
    """
    if events <= 0:
        return 0.0
    share, z2 = bad / events, Z * Z
    middle = share + z2 / (2 * events)
    spread = Z * math.sqrt(share * (1 - share) / events + z2 / (4 * events * events))
    return max(0.0, (middle - spread) / (1 + z2 / events))


def certain_burn(objective: Objective, counts: Counts) -> float | None:
    """The burn rate by events that are bad for certain; None without events."""
    return None if counts.events == 0 else counts.bad / counts.events / (1.0 - objective.target)
