"""What a notice says, as templates of Alertmanager: first what is wrong, then since when, and where to go on."""

from __future__ import annotations

_SAID = "{{ or .Annotations.summary .Labels.alertname }}"
"""Alerts of others may have no summary."""
TITLE = (
    f'{{{{ if eq .Status "firing" }}}}{{{{ with index .Alerts.Firing 0 }}}}{_SAID}{{{{ end }}}}'
    "{{ if gt (len .Alerts.Firing) 1 }} (one of {{ len .Alerts.Firing }} alerts){{ end }}"
    f"{{{{ else }}}}Over: {{{{ with index .Alerts 0 }}}}{_SAID}{{{{ end }}}}"
    "{{ if gt (len .Alerts) 1 }} (one of {{ len .Alerts }} alerts){{ end }}{{ end }}"
)
"""One line."""

_TIME = '.UTC.Format "2006-01-02 15:04:05 UTC"'
_LINKS = "".join(
    f"{{{{ with .Annotations.{name} }}}}{title}: {{{{ . }}}}\n{{{{ end }}}}"
    for name, title in (("runbook_url", "Runbook"), ("dashboard_url", "Dashboard"), ("console_url", "Control plane"))
)
FIRING = (
    "{{ range .Alerts.Firing }}{{ .Labels.alertname }} ({{ .Labels.severity }}): {{ .Annotations.summary }}\n"
    "{{ with .Annotations.description }}{{ . }}\n{{ end }}"
    f"Since {{{{ .StartsAt{_TIME} }}}}\n{_LINKS}\n{{{{ end }}}}"
)
OVER = (
    "{{ range .Alerts.Resolved }}{{ .Labels.alertname }} is over: {{ .Annotations.summary }}\n"
    f"From {{{{ .StartsAt{_TIME} }}}} to {{{{ .EndsAt{_TIME} }}}}\n\n{{{{ end }}}}"
)
TEXT = FIRING + OVER
"""All alerts of a notice, one paragraph each."""

RUNBOOK = "{{ .CommonAnnotations.runbook_url }}"
DASHBOARD = "{{ .CommonAnnotations.dashboard_url }}"
CONSOLE = "{{ .CommonAnnotations.console_url }}"
"""Links that are the same for all alerts of a notice, else empty."""

ANCHORS = {TITLE: "title", FIRING: "firing", OVER: "over", TEXT: "text"}
"""Names of what stands in many receivers."""
