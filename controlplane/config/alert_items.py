"""Alerts as they are written: how they are sent, to whom, when not, and which of them freeze scaling."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from controlplane.config.block import Block
from controlplane.config.bounds import Freezing
from controlplane.config.units import Grpc, Name, Plain, Url, Zone, refuse_template
from controlplane.domain.alerts import Severity
from controlplane.domain.instructions import FreezeDirection
from controlplane.domain.routing import Via

CLOCK_FORM = "a time of day in quotes, '00:00' to '24:00'"
LABEL_FORM = "the name of a label: letters, digits and '_', not starting with a digit"
ADDRESS_FORM = "an e-mail address, such as oncall@example.org"
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00", re.ASCII)
_LABEL = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


def parse_clock(value: object) -> str:
    """A time of day. YAML reads 22:00 without quotes as the number 1320."""
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError(CLOCK_FORM)
    return value


def parse_label(value: object) -> str:
    """The name of a label, as Prometheus takes it."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise ValueError(LABEL_FORM)
    return value


def parse_address(value: object) -> str:
    """An e-mail address, so far as one can tell."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(ADDRESS_FORM)
    return refuse_template(value)


Clock = Annotated[str, BeforeValidator(parse_clock), WithJsonSchema({"type": "string", "format": "time of day"})]
Label = Annotated[str, BeforeValidator(parse_label)]
Address = Annotated[str, BeforeValidator(parse_address), WithJsonSchema({"type": "string", "format": "e-mail address"})]


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class PagerdutyBlock(Block):
    """A PagerDuty service, by its Events API v2."""

    routing_key_file: str = Field(min_length=1, description="File that holds the integration key.")


class OpsgenieBlock(Block):
    """An Opsgenie team."""

    api_key_file: str = Field(min_length=1, description="File that holds the API key.")
    api_url: Url | None = Field(
        default=None, description="Its API, such as https://api.eu.opsgenie.com; default: https://api.opsgenie.com."
    )


class SlackBlock(Block):
    """A Slack channel."""

    api_url_file: str = Field(min_length=1, description="File that holds the URL of the incoming webhook.")
    channel: Plain = Field(min_length=1, description="Channel or person, such as '#oncall' in quotes.")


class ReceiverItem(Block):
    """One place to send to: exactly one of `pagerduty`, `opsgenie`, `slack`, `webhook` and `email`.

    Alertmanager reads the files: they lie where it runs, and relative ones beside its configuration.
    """

    pagerduty: PagerdutyBlock | None = Field(default=None, description="PagerDuty.")
    opsgenie: OpsgenieBlock | None = Field(default=None, description="Opsgenie.")
    slack: SlackBlock | None = Field(default=None, description="Slack.")
    webhook: Url | None = Field(default=None, description="URL to which Alertmanager posts its JSON (version 4).")
    email: Address | None = Field(default=None, description="Address; mail needs the block `alerts.mail`.")
    token_file: str | None = Field(
        default=None, min_length=1, description="File that holds a bearer token; with `webhook` only."
    )


class MuteItem(Block):
    """A weekly time in which alerts are not sent. Those that still fire after it are sent then."""

    severities: list[Severity] = Field(min_length=1, description="Severities that it holds for.")
    days: list[Day] = Field(default=[], description="Days, such as [saturday, sunday]; default: every day.")
    since: Clock = Field(default="00:00", description="Time of day at which it begins.")
    until: Clock = Field(
        default="24:00", description="Time of day at which it ends; on the next day where that is not after `since`."
    )
    location: Zone | None = Field(default=None, description="Time zone of the times; default: UTC.")


class TeamItem(Block):
    """People who own models and are told of their alerts."""

    name: Name = Field(description="Unique among teams; models name it in `team`.")
    page: list[ReceiverItem] = Field(min_length=1, description="Who is woken.")
    ticket: list[ReceiverItem] = Field(
        default=[], description="Where what can wait for working hours goes; default: as `page`."
    )
    info: list[ReceiverItem] = Field(
        default=[], description="Where what nobody need act on goes; default: as `ticket`, or `page`."
    )
    mutes: list[MuteItem] = Field(default=[], description="Times in which it is not told.")


class MailBlock(Block):
    """How Alertmanager sends e-mail."""

    smarthost: Grpc = Field(description="The SMTP server, such as smtp.example.org:587.")
    sender: Address = Field(alias="from", description="Address of the sender.")
    username: str | None = Field(default=None, min_length=1, description="User there; with `password_file`.")
    password_file: str | None = Field(
        default=None, min_length=1, description="File where Alertmanager runs that holds the user's password."
    )


class FreezeItem(Block):
    """Alerts that freeze scaling when they come back: of the model in their label `model`, without that label of all.

    One whose label names a model that is not configured freezes nothing.
    """

    alert: dict[Label, str] = Field(
        min_length=1, description="Labels that the alert has, such as {alertname: DatacenterMaintenance}."
    )
    direction: FreezeDirection = Field(default=FreezeDirection.ALL, description="What is forbidden.")
    duration: Freezing = Field(default=1800.0, alias="for", description="How long the freeze lasts.")


class AlertsBlock(Block):
    """How alerts are sent, and to whom. `controlplane rules` writes rules and Alertmanager's configuration from it."""

    via: Via = Field(
        default=Via.PROMETHEUS,
        description="Who evaluates alerts and sends them to Alertmanager, never both. prometheus: a Prometheus, by the"
        " rules that `controlplane rules` writes. direct: the control plane itself.",
    )
    alertmanagers: list[Url] = Field(
        default=[], description="With `via: direct`: base URLs of all Alertmanagers, such as http://127.0.0.1:9093."
    )
    runbooks_url: Url | None = Field(
        default=None,
        description="Where you put docs/runbooks: alerts link to {runbooks_url}/{alert}.md; default: no such links.",
    )
    dashboards_url: Url | None = Field(
        default=None, description="Base URL of Grafana for links to dashboards; default: no such links."
    )
    console_url: Url | None = Field(
        default=None,
        description="Where Alertmanager and people reach the control plane's API. Given, alerts link to it and"
        " Alertmanager posts them back to it, to be shown beside decisions.",
    )
    hook_token_file: str | None = Field(
        default=None,
        min_length=1,
        description="File where Alertmanager runs that holds its bearer token for `console_url` (controlplane token"
        " create, scope operator); needed with `api.tokens_file`.",
    )
    teams: list[TeamItem] = Field(default=[], description="Who is told; none: nobody but the control plane.")
    escalation: Name | None = Field(
        default=None,
        description="Team that is told of models without a team, and of all else; needed where there are teams.",
    )
    watchdog: ReceiverItem | None = Field(
        default=None,
        description="What gets the alert Watchdog every minute and tells somebody when it stays away (a dead man's"
        " switch); default: nothing.",
    )
    mail: MailBlock | None = Field(default=None, description="How e-mail is sent; needed for receivers with `email`.")
    freezes: list[FreezeItem] = Field(default=[], description="Alerts that freeze scaling.")
