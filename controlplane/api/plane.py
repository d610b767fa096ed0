"""What the API needs of the running control plane."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry

from controlplane.config import Settings
from controlplane.domain.picture import Picture
from controlplane.loop.desk import Desk
from controlplane.loop.hooks import Inbox
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.notices import Notifier
from controlplane.loop.slo_desk import SloDesk


class Plane(Protocol):
    """controlplane.loop.wire.ControlPlane, as far as the API sees it."""

    @property
    def settings(self) -> Settings:
        """The configuration."""
        ...

    @property
    def desk(self) -> Desk:
        """Takes instructions."""
        ...

    @property
    def slo(self) -> SloDesk:
        """Tells how objectives stand."""
        ...

    @property
    def inbox(self) -> Inbox:
        """Takes alerts from Alertmanagers and tells of them."""
        ...

    @property
    def notifier(self) -> Notifier:
        """Tells Alertmanagers."""
        ...

    @property
    def mig(self) -> MigPlanner:
        """Plans MIG layouts."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """What /metrics shows."""
        ...

    def picture(self) -> Picture:
        """What is known now."""
        ...


TICKS_LATE = 3
"""After so many intervals without a tick the loop counts as stuck, and its figures as stale."""


def late_after_s(plane: Plane) -> float:
    """The age in seconds from which the last tick is too old."""
    return TICKS_LATE * plane.settings.decide_interval_s
