"""Variables of dashboards: the data source, and labels to filter by."""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.domain import names
from controlplane.publish.dashboards.panels import DATASOURCE
from controlplane.publish.dashboards.queries import INSTANCE, JOB, Match, like, selector

Variable: TypeAlias = dict[str, Any]

ANY = ".+"

DATA_SOURCE: Variable = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data Source",
    "query": "prometheus",
    "regex": "",
    "refresh": 1,
    "hide": 0,
    "multi": False,
    "includeAll": False,
    "options": [],
    "current": {},
}
"""The Prometheus to ask. Grafana 13 addresses data sources by uid only, which is not known before: so a variable."""


def of_label(name: str, title: str, series: str, *matches: Match, label: str = "", every: str | None = ANY) -> Variable:
    """Values of a label of a series, several at once. `every`: pattern for all of them, None: those that there are."""
    query = f"label_values({selector(series, *matches)}, {label or name})"
    made: Variable = {
        "type": "query",
        "name": name,
        "label": title,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    return made if every is None else made | {"allValue": every}


_MINE = like(JOB, f"${JOB}")

PLANE = of_label(JOB, "Control plane", f"{names.TICKS}_total")
REPLICA = of_label(INSTANCE, "Replica", f"{names.TICKS}_total", _MINE)
# overrides are counted for every model of the configuration, whatever is known of it
MODEL = of_label(names.MODEL, "Model", names.OVERRIDES_ACTIVE, _MINE)
OBJECTIVE = of_label(names.OBJECTIVE, "Objective", names.OBJECTIVE_TARGET, _MINE, like(names.MODEL, f"${names.MODEL}"))
WORKLOAD = of_label(names.WORKLOAD, "Workload", names.WORKLOAD_LISTED, _MINE, every=".*")
SERVER = of_label(names.SERVER, "Server", f"{names.SERVER_READS}_total", _MINE)
# the machine of the control plane itself has no name
NODE = of_label(names.NODE, "Node", names.GPU_INFO, _MINE, every=".*")
GPU = of_label(names.GPU, "GPU", names.GPU_INFO, _MINE, like(names.NODE, f"${names.NODE}"))
