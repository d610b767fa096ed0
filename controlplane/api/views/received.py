"""Alerts that Alertmanagers send back, as they come and as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints

from controlplane.domain.alerts import Severity
from controlplane.domain.received import ReceivedAlert

_SUMMARY_MAX = 1000
_TOLD = 5
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


_Text = Annotated[str, AfterValidator(lambda text: text.replace("\0", "\N{REPLACEMENT CHARACTER}"))]
"""PostgreSQL keeps no NUL."""


class HookAlert(BaseModel):
    """One alert of a webhook. What else stands in it is not read."""

    status: Literal["firing", "resolved"]
    labels: dict[_Text, _Text]
    annotations: dict[_Text, _Text] = Field(default_factory=dict)
    startsAt: Annotated[AwareDatetime, Field(ge=_FIRST, le=_LAST)]  # noqa: N815 - Alertmanager's name
    endsAt: AwareDatetime  # noqa: N815 - Alertmanager's name
    fingerprint: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] = Field(description="Names its labels")

    def alert(self, now: float) -> ReceivedAlert:
        """As it is kept, told now. What fires past its end has ended; Alertmanager gives the year 1 for none."""
        end = self.endsAt.timestamp() if self.endsAt >= _FIRST else None
        if self.status == "resolved":
            end = now if end is None else min(end, now)
        elif end is not None and end > now:
            end = None
        return ReceivedAlert(
            self.fingerprint,
            self.labels,
            self.startsAt.timestamp(),
            end,
            (self.annotations.get("summary") or self.annotations.get("description", ""))[:_SUMMARY_MAX],
            now,
            now,
        )


class HookBody(BaseModel):
    """What Alertmanager's webhook posts. https://prometheus.io/docs/alerting/latest/configuration/#webhook_config"""

    version: Literal["4"]
    alerts: list[HookAlert]


class TakenView(BaseModel):
    """How many alerts were taken."""

    alerts: int


class ReceivedAlertView(BaseModel):
    """An alert that an Alertmanager sent back."""

    name: str
    severity: str
    model: str = Field(description="Empty: of none")
    firing: bool = Field(description="As it was told last, and told again since")
    starts_at: float
    ends_at: float | None = Field(description="null: no end was told")
    unheard: bool = Field(description="Not heard of since `heard_at`: taken for ended, though no end was told")
    heard_at: float = Field(description="When it was told last")
    summary: str
    labels: dict[str, str]
    fingerprint: str

    @classmethod
    def of(cls, alert: ReceivedAlert, *, firing: bool) -> ReceivedAlertView:
        """As it stands now."""
        return cls(
            name=alert.name,
            severity=alert.severity,
            model=alert.model,
            firing=firing,
            starts_at=alert.starts_at,
            ends_at=alert.ends_at,
            unheard=alert.ends_at is None and not firing,
            heard_at=alert.heard_at,
            summary=alert.summary,
            labels=dict(alert.labels),
            fingerprint=alert.fingerprint,
        )


def told_then(alerts: Iterable[ReceivedAlert], at: float) -> list[str]:
    """What fired at the time of a decision, as a line of its explanation; none where nothing did that matters.

    The most urgent come first, of these the newest; a start on another day has its date.
    """
    matter = (alert for alert in alerts if alert.severity != Severity.INFO.value)
    shown = sorted(matter, key=lambda alert: (alert.urgency, -alert.starts_at))
    day = datetime.fromtimestamp(at, UTC).date()
    texts = [
        f"{alert.name}{f' ({alert.severity})' if alert.severity else ''}{f' of {alert.model}' if alert.model else ''}"
        f" since {began:{'%H:%M:%S' if began.date() == day else '%Y-%m-%d %H:%M:%S'}}"
        for alert in shown[:_TOLD]
        for began in (datetime.fromtimestamp(alert.starts_at, UTC),)
    ]
    more = [f"and {len(shown) - _TOLD} more"] if len(shown) > _TOLD else []
    return [f"alerts:  {'; '.join([*texts, *more])}"] if texts else []
