"""docs/reference/alerts.md: `python -m controlplane.publish.alerting.rules.reference > docs/reference/alerts.md`."""

from __future__ import annotations

import re
import sys

from controlplane.config.units import format_duration
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.publish.alerting.catalogue import CATALOGUE, AlertText

_HEAD = """\
# Alerts

Every alert that there is, whoever sends it: a Prometheus by the rules that `controlplane rules` writes, or the control
plane itself (`alerts.via`). Names in `<...>` are labels of the alert. A `page` wakes somebody, a `ticket` is looked at
in working hours, an `info` is told and nobody need do anything. *for*: how long it must hold before it fires. This page
is made of the code.

| alert | severity | for | what | labels |
|---|---|---|---|---|
"""

_TAIL = """
## Where a Prometheus sends them

- Alerts end two minutes after their ground is gone (`keep_firing_for`), so that a restart of the control plane ends
  none and begins none anew.
- Missing data is no recovery. While no control plane is scraped, what fires stays, and only `ControlPlaneDown` begins.
  A burn alert also stays while less than half of its shortest window was measured; its value is 0 then, and its
  description says so.
- Annotations are `summary`, `description`, and as configured `runbook_url`, `dashboard_url` and `console_url`.
- What people [correct or exclude](../how-to/slo-reports.md#correct-what-was-counted) is known to the control plane and
  its own alerts, but not to Prometheus: its counters tell what was seen. Silence alerts of a drill in Alertmanager.

## Burn rates

Prometheus computes them of `controlplane_objective_events_total` alone, over the windows of each objective, with the
factors that `controlplane check` tells of: increases first, added up over instances, then divided, so that a quiet hour
weighs as much as it has events. What it records:

| series, with the window at the end | what |
|---|---|
| `model_objective:slo_events:increase` | events |
| `model_objective:slo_bad_events:increase` | those that are bad for certain |
| `model_objective:slo_errors_per_event:ratio_rate` | their share; no series without events |
| `model_objective:slo_errors_per_event:wilson_low` | the least share that so few events speak for, at 95 % |
| `model_objective:slo_measured_per_expected:ratio_rate` | share of the time that was measured |
"""


def reference() -> str:
    """The page."""
    return _HEAD + "".join(_row(text) for text in CATALOGUE) + _TAIL


def _row(text: AlertText) -> str:
    severity = text.severity.value
    if text.alert is AlertName.ERROR_BUDGET_BURN:
        severity += f", {Severity.TICKET.value}"
    what = re.sub(r"\{(\w+)(?:\?([^{}]*))?\}", r"\2`<\1>`", text.summary).replace("``", "` or `")
    labels = ", ".join(f"`{label}`" for label in text.labels)
    name = text.alert.value
    wait = format_duration(text.for_s) if text.for_s else ""
    return f"| [{name}](../runbooks/{text.runbook}) | {severity} | {wait} | {what} | {labels} |\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
