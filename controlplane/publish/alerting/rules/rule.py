"""An alerting rule out of what the catalogue says of the alert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import AlertText, template
from controlplane.publish.alerting.links import links
from controlplane.publish.alerting.rules.promql import series
from controlplane.slo.alerts import AlertPolicy

NO_LABELS: Mapping[str, str] = {}


def rule(
    text: AlertText,
    expression: str,
    alerts: AlertSettings,
    *,
    severity: Severity | None = None,
    fixed: Mapping[str, str] = NO_LABELS,
    description: str = "",
    keeps: bool = True,
) -> dict[str, Any]:
    """The rule of an alert; `fixed` labels are known beforehand, `description` stands in for the catalogue's.

    It ends after it was clear for a while (`keeps`), so that a restart of the control plane ends nothing.
    """
    made: dict[str, Any] = {"alert": text.alert.value, "expr": expression}
    if text.for_s:
        made["for"] = format_duration(text.for_s)
    if keeps:
        made["keep_firing_for"] = format_duration(AlertPolicy().end_after_s)
    made["labels"] = {names.SEVERITY: (severity or text.severity).value, **fixed}
    made["annotations"] = {
        "summary": template(text.summary),
        "description": template(description or text.description),
        **links(text, alerts, lambda name: f"{{{{ $labels.{name} | urlquery }}}}"),
    }
    return made


def last_decisions(model: str) -> str:
    """A template that tells what was decided last for a model, server by server."""
    asked = series(names.MODEL_DECISION, **{names.MODEL: model})
    server, step, binding = (f"{{{{ .Labels.{label} }}}}" for label in (names.SERVER, names.STEP, names.BINDING))
    each = f'{{{{ range . | sortByLabel "{names.SERVER}" }}}} {server}: {step} because of {binding};{{{{ end }}}}'
    return asked_for(asked, f"Last decisions:{each}")


def asked_for(query: str, said: str) -> str:
    """A template of what is said of the answer to a query, made when the alert is sent; nothing without an answer."""
    return f"{{{{ with query {json.dumps(query)} }}}}{said}{{{{ end }}}}"


def share(query: str, before: str, after: str) -> str:
    """A template of the share that a query gives, between words."""
    return asked_for(query, f"{before}{{{{ . | first | value | humanizePercentage }}}}{after}")
