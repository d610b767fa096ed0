"""Alerts that an Alertmanager sent back, whoever evaluated them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain import names
from controlplane.domain.alerts import Severity

FREEZES_AS = "alertmanager"
"""Who freezes by a rule for alerts, where people have their names."""
_URGENCY = {severity.value: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert from `starts_at` on. `fingerprint` names its labels; `ends_at` is None while it fires.

    `heard_at` is when it was told last; `received_at` is when it was first told as it is now, firing or ended.
    """

    fingerprint: str
    labels: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    summary: str
    received_at: float
    heard_at: float

    @property
    def name(self) -> str:
        """Alertmanager takes alerts that have none, too."""
        return self.labels.get(names.ALERT_NAME) or "(no name)"

    @property
    def severity(self) -> str:
        """As whoever made it calls it."""
        return self.labels.get(names.SEVERITY, "")

    @property
    def model(self) -> str:
        """Empty where it is of none."""
        return self.labels.get(names.MODEL, "")

    @property
    def firing(self) -> bool:
        """Whether it was told to fire last."""
        return self.ends_at is None

    @property
    def urgency(self) -> int:
        """0 wakes people: a page, and what is of no severity of ours; it grows towards info."""
        return _URGENCY.get(self.severity, 0)

    def fired_at(self, moment: float, unheard_s: float) -> bool:
        """Whether it fired at a moment, as far as it was told: after `unheard_s` of silence it is taken for ended.

        What is told to fire does so, though it claims to begin later: clocks differ.
        """
        end = self.heard_at + unheard_s if self.ends_at is None else self.ends_at
        return min(self.starts_at, self.received_at) <= moment < end


def by_urgency(alert: ReceivedAlert) -> tuple[int, float, str]:
    """Sorts the most urgent first, of these the longest firing."""
    return alert.urgency, alert.starts_at, alert.fingerprint
