"""Prometheus rules out of the configuration: what is recorded, and what alerts."""

from __future__ import annotations

from typing import Any

from controlplane.config.settings import Settings
from controlplane.config.units import format_duration
from controlplane.domain.routing import Via
from controlplane.publish.alerting.rules.burn import burn_rules
from controlplane.publish.alerting.rules.recording import recording_groups
from controlplane.publish.alerting.rules.states import condition_rules, exhausted_rule, own_rules, unmeasured_rule
from controlplane.publish.alerting.rules.windows import every_s, watched
from controlplane.publish.alerting.written import written
from controlplane.slo.alerts import AlertPolicy

RECORDING_FILE = "rules.yml"
ALERTING_FILE = "alerts.yml"


def files(settings: Settings) -> dict[str, str]:
    """The text of each file of rules by its name. Alerts that the control plane sends itself have no rules."""
    objectives = tuple(watched(settings))
    alerting = alerting_groups(settings) if settings.alerts.via is Via.PROMETHEUS else []
    groups = {RECORDING_FILE: recording_groups(settings, objectives), ALERTING_FILE: alerting}
    return {name: written({"groups": made}) for name, made in groups.items()}


def alerting_groups(settings: Settings) -> list[dict[str, Any]]:
    """The groups of alerting rules."""
    policy, objectives = AlertPolicy(), tuple(watched(settings))
    budgets = [
        made
        for each in objectives
        for made in (*burn_rules(settings, each, policy), unmeasured_rule(settings, each, policy))
    ]
    groups = {
        "controlplane-objectives": [*budgets, *([exhausted_rule(settings)] if budgets else [])],
        "controlplane-conditions": list(condition_rules(settings)),
        "controlplane-itself": list(own_rules(settings)),
    }
    interval = format_duration(every_s(settings))
    return [{"name": name, "interval": interval, "rules": rules} for name, rules in groups.items() if rules]
