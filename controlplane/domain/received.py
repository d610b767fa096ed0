"""Alerts that an Alertmanager sent back, whoever evaluated them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain import names

FREEZES_AS = "alertmanager"
"""Who freezes by a rule for alerts, where people have their names."""
FORGOTTEN_S = 5 * 86400.0
"""A firing alert that was not heard of for so long counts as over: Alertmanager itself remembers what it sent for
120 h (`--data.retention`), so none repeats more rarely."""


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
        """Empty where it has none: Alertmanager takes such alerts too."""
        return self.labels.get(names.ALERT_NAME, "")

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

    def fired_at(self, moment: float) -> bool:
        """Whether it fired at a moment, as far as it was told."""
        end = self.heard_at + FORGOTTEN_S if self.ends_at is None else self.ends_at
        return self.starts_at <= moment < end
