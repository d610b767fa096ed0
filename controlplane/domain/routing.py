"""Who is told of what, as people configure it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from controlplane.domain.alerts import Severity
from controlplane.domain.instructions import FreezeDirection

_REPEAT_LEAST_S, _REPEAT_MOST_S = 30.0, 4 * 3600.0
_UNHEARD_REPEATS = 3.0


class Via(StrEnum):
    """Who sends alerts, never both."""

    PROMETHEUS = "prometheus"
    """A Prometheus evaluates the rules that `controlplane rules` writes."""
    DIRECT = "direct"
    """The control plane posts its alerts to Alertmanagers itself."""


class ReceiverKind(StrEnum):
    """What Alertmanager sends to; the names are those of its configuration."""

    PAGERDUTY = "pagerduty"
    OPSGENIE = "opsgenie"
    SLACK = "slack"
    WEBHOOK = "webhook"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One place to send to. Secrets are paths of files that Alertmanager reads, never values.

    `secret_file` holds the PagerDuty routing key, the Opsgenie API key, the Slack webhook's URL or the bearer token of
    a webhook. `to` is the Slack channel, the e-mail address, the webhook's URL or the URL of Opsgenie's API; empty: the
    usual one.
    """

    kind: ReceiverKind
    secret_file: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class MuteTime:
    """A weekly time in which alerts of some severities are not sent.

    `days` are names such as "monday", none: every day. Hours are HH:MM of `location`; where `until` is not after
    `since` it is that of the next day.
    """

    severities: tuple[Severity, ...]
    days: tuple[str, ...]
    since: str = "00:00"
    until: str = "24:00"
    location: str = "UTC"


@dataclass(frozen=True, slots=True)
class Team:
    """People who own models. Pages have receivers."""

    name: str
    receivers: Mapping[Severity, tuple[Receiver, ...]]
    mutes: tuple[MuteTime, ...] = ()

    def told(self, severity: Severity) -> tuple[Receiver, ...]:
        """Its receivers of a severity; one without goes where the next more urgent one goes."""
        order = tuple(Severity)
        given = (self.receivers.get(each, ()) for each in reversed(order[: order.index(severity) + 1]))
        return next(filter(None, given), ())


@dataclass(frozen=True, slots=True)
class MailServer:
    """How Alertmanager sends e-mail."""

    smarthost: str
    sender: str
    username: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class FreezeRule:
    """An alert that comes back with these labels freezes the scaling of its model (without one: of all)."""

    matchers: Mapping[str, str]
    direction: FreezeDirection
    for_s: float

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is meant."""
        return all(labels.get(name, "") == value for name, value in self.matchers.items())


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """How alerts are sent, and to whom. URLs without a slash at the end, empty: no such links.

    `escalation` names the team of models without one and of what no model has to do with. `watchdog` gets the dead
    man's switch. With `console_url` Alertmanager posts alerts back to the control plane, with the bearer token that it
    finds in `hook_token_file`.
    """

    via: Via = Via.PROMETHEUS
    alertmanagers: tuple[str, ...] = ()
    runbooks_url: str = ""
    dashboards_url: str = ""
    console_url: str = ""
    hook_token_file: str = ""
    teams: tuple[Team, ...] = ()
    escalation: str = ""
    watchdog: Receiver | None = None
    mail: MailServer | None = None
    freezes: tuple[FreezeRule, ...] = ()

    @property
    def hook_repeat_s(self) -> float:
        """How often Alertmanager tells the control plane again what fires.

        Twice within the time of the shortest freeze, which holds on while it does.
        """
        shortest_s = min((rule.for_s for rule in self.freezes), default=math.inf)
        return min(max(_REPEAT_LEAST_S, shortest_s / 2), _REPEAT_MOST_S)

    @property
    def unheard_s(self) -> float:
        """An alert that came back and was not heard of for so long is taken for ended.

        Alertmanager never tells the end of one that ended while it was silenced or inhibited.
        """
        return _UNHEARD_REPEATS * self.hook_repeat_s


@dataclass(frozen=True, slots=True)
class GrafanaSettings:
    """A Grafana to push to. `prometheus_url` is where Grafana reaches Prometheus."""

    url: str
    token_file: Path
    prometheus_url: str
    folder: str = "controlplane"


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour of a GPU costs in `currency`; None: not known. By the GPU's name as NVML gives it, else for all.

    A name is the same with and without NVIDIA before it, as `controlplane status` shows it.
    """

    currency: str = "USD"
    gpu_hour: float | None = None
    by_name: Mapping[str, float] = field(default_factory=dict)

    def of(self, gpu: str) -> float | None:
        """What an hour of a GPU of this name costs."""
        name = self._name(gpu)
        return self.gpu_hour if name is None else self.by_name[name]

    def unseen(self, gpus: Iterable[str]) -> tuple[str, ...]:
        """The names that have a price and are those of none of these GPUs."""
        seen = {self._name(gpu) for gpu in gpus}
        return tuple(name for name in self.by_name if name not in seen)

    def _name(self, gpu: str) -> str | None:
        """The name in `by_name` that means this GPU: its own before one that is alike."""
        if gpu in self.by_name:
            return gpu
        return next((name for name in self.by_name if _bare(name) == _bare(gpu)), None)


def _bare(gpu: str) -> str:
    return gpu.strip().removeprefix("NVIDIA ")
