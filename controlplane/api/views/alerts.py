"""Burn alerts as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from controlplane.api.views.received import ReceivedAlertView
from controlplane.domain.alerts import BurnAlert, BurnReading, Severity
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.picture import Picture
from controlplane.loop.notices import Refusal
from controlplane.slo.alerts import told


class BurnWindowView(BaseModel):
    """One pair of windows: both burn rates above the factor are too much."""

    long_s: float
    short_s: float
    factor: float
    repaired: bool = Field(description="Lowered: the usual factor could never be reached by this target")
    burn_long: float | None = Field(description="null without events")
    burn_short: float | None
    bad: int = Field(description="Of the long window")
    events: int
    exceeded: bool
    held_back: str = Field(description="Why it does not count all the same; empty where it does")

    @classmethod
    def of(cls, reading: BurnReading) -> BurnWindowView:
        """One reading."""
        return cls(
            long_s=reading.window.long_s,
            short_s=reading.window.short_s,
            factor=reading.factor,
            repaired=reading.repaired,
            burn_long=reading.burn_long,
            burn_short=reading.burn_short,
            bad=reading.long.bad,
            events=reading.long.events,
            exceeded=reading.exceeded,
            held_back=reading.held_back,
        )


class AlertView(BaseModel):
    """The alert of one severity of one objective."""

    model: str
    objective: str
    severity: Severity
    firing: bool
    since: float | None
    frozen: str = Field(description="Why it cannot be judged now and stays what it was; empty: it is judged")
    frozen_since: float | None = Field(description="null: it is judged")
    capacity_share: float | None = Field(description="Share of the bad events that capacity explains")
    summary: str
    windows: list[BurnWindowView]

    @classmethod
    def of(cls, alert: BurnAlert) -> AlertView:
        """As it was judged last."""
        return cls(
            model=alert.model,
            objective=alert.objective,
            severity=alert.severity,
            firing=alert.firing,
            since=alert.since,
            frozen=alert.frozen,
            frozen_since=alert.frozen_since,
            capacity_share=alert.capacity_share,
            summary=told(alert),
            windows=[BurnWindowView.of(reading) for reading in alert.readings],
        )


class AlertEventView(BaseModel):
    """An alert began or ended to fire."""

    model_config = ConfigDict(from_attributes=True)

    at: float
    model: str
    objective: str
    severity: Severity
    firing: bool
    summary: str


class RefusalView(BaseModel):
    """An Alertmanager that takes no alerts."""

    url: str
    since: float
    why: str

    @classmethod
    def of(cls, refusals: Mapping[str, Refusal]) -> list[RefusalView]:
        """Those that take none now, the longest first."""
        found = (cls(url=url, since=refusal.since, why=refusal.why) for url, refusal in refusals.items())
        return sorted(found, key=lambda view: view.since)


class AlertsView(BaseModel):
    """Alerts now, those that fire first, and what happened to them, newest first."""

    at: float
    alerts: list[AlertView]
    events: list[AlertEventView]
    received: list[ReceivedAlertView] = Field(
        description="From Alertmanagers: those that fire, pages first, then the newest others"
    )
    received_firing: dict[str, int] = Field(description="How many of them fire in all, by severity")


def alerts_of(picture: Picture, spec: ModelSpec) -> list[AlertView]:
    """Those of one model."""
    return [AlertView.of(alert) for alert in picture.alerts.get(spec.name, ())]
