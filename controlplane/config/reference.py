"""The configuration reference, made from the tree's own descriptions.

`python -m controlplane.config.reference > docs/reference/configuration.md` writes it; a test holds it up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from controlplane.config.bounds import LEAST, MOST
from controlplane.config.mapping_file import MappingFile
from controlplane.config.profile_file import PROFILE_FILES
from controlplane.config.promql import SELECTOR_FORM
from controlplane.config.tree import schema
from controlplane.config.units import (
    CRON_FORM,
    DURATION_FORM,
    GRPC_FORM,
    MEMORY_FORM,
    MOMENT_FORM,
    NAME_FORM,
    RATE_FORM,
    SHARE_FORM,
    STORE_FORM,
    URL_FORM,
    VERSION_FORM,
    WINDOW_FORM,
    ZONE_FORM,
)

_BLOCKS = {
    "Root": "The file",
    "ScrapeBlock": "scrape",
    "DecideBlock": "decide",
    "LeaderBlock": "leader",
    "ApiBlock": "api",
    "PolicyBlock": "policy",
    "ActBlock": "act",
    "ServerItem": "servers[]",
    "ThroughBlock": "`servers[].through` and `gateways[].through`",
    "PrometheusItem": "prometheus[]",
    "WorkloadItem": "workloads[]",
    "KubernetesBlock": "workloads[].kubernetes",
    "DrainBlock": "workloads[].kubernetes.drain",
    "TargetsBlock": "workloads[].prometheus",
    "PortsBlock": "workloads[].ports",
    "ReplicasBlock": "workloads[].replicas",
    "ScheduleItem": "`workloads[].schedules[]` and `models[].schedules[]`",
    "GatewayItem": "gateways[]",
    "RoutesBlock": "gateways[].routes",
    "AgentItem": "agents[]",
    "ModelItem": "models[]",
    "InstancesBlock": "models[].instances",
    "CopiesBlock": "models[].copies",
    "WakeBlock": "models[].wake",
    "LoraBlock": "models[].lora",
    "ProbeBlock": "models[].probe",
    "ObjectiveItem": "models[].objectives[]",
    "RatioBlock": "models[].objectives[].ratio",
    "EventItem": "events[]",
    "AlertsBlock": "alerts",
    "TeamItem": "alerts.teams[]",
    "ReceiverItem": "`page[]`, `ticket[]` and `info[]` of a team, and `alerts.watchdog`",
    "PagerdutyBlock": "pagerduty",
    "OpsgenieBlock": "opsgenie",
    "SlackBlock": "slack",
    "MuteItem": "alerts.teams[].mutes[]",
    "MailBlock": "alerts.mail",
    "FreezeItem": "alerts.freezes[]",
    "GrafanaBlock": "grafana",
    "CostBlock": "cost",
    "KedaBlock": "keda",
    "QuotaBlock": "quota",
    "MigBlock": "mig",
    "OperatorBlock": "mig.operator",
    "MigModelItem": "mig.models[]",
}
_MAPPING_BLOCKS = {
    "MappingFile": "A mapping file",
    "GaugesBlock": "gauges",
    "RequestsBlock": "requests",
    "TimesBlock": "times",
    "HistogramsBlock": "histograms",
    "SeriesItem": "series",
}
_PROFILE_BLOCKS = {
    "BatchProfileFile": "A profile file of a model on Triton",
    "TokenProfileFile": "A profile file of a model that generates tokens",
}
_HEAD = f"""# Configuration

One YAML file. `controlplane check FILE` prints every fault at once, with its path, its value and what is allowed.
This page is generated from the code (`python -m controlplane.config.reference`).

Forms
- duration: {DURATION_FORM}. A plain number is refused.
- share: {SHARE_FORM}.
- window: {WINDOW_FORM}.
- time zone: {ZONE_FORM}.
- cron: {CRON_FORM}.
- date-time: {MOMENT_FORM}.
- name: {NAME_FORM}.
- rate: {RATE_FORM}.
- memory: {MEMORY_FORM}.
- PromQL selector: {SELECTOR_FORM}.
- version: {VERSION_FORM}.
- url: {URL_FORM}.
- host:port: {GRPC_FORM}.
- database url: {STORE_FORM}.

Environment variables override the file: `CONTROLPLANE_STORE` stands for `store`, `CONTROLPLANE_API__PORT` for `port` in
`api` (two underscores between block and key); an empty value unsets the key. Lists (servers, models and the like) are
set in the file only. Relative files are relative to the working directory. Secrets never stand in the file: they
come from `*_file` keys or from the environment (a password in `CONTROLPLANE_STORE` is fine).
"""


def reference() -> str:
    """The page as Markdown."""
    tree = schema()
    mapping = MappingFile.model_json_schema()
    blocks = {"Root": tree, **tree["$defs"], "MappingFile": mapping, **mapping["$defs"]}
    blocks |= {form.__name__: form.model_json_schema() for form in PROFILE_FILES.values()}
    titles = {**_BLOCKS, **_MAPPING_BLOCKS, **_PROFILE_BLOCKS}
    return "\n".join([_HEAD, *(line for name, title in titles.items() for line in _block(title, blocks[name], blocks))])


def _block(title: str, block: dict[str, Any], blocks: dict[str, Any]) -> Iterator[str]:
    heading = title if " " in title else f"`{title}`"
    yield f"## {heading}\n\n{block['description']}\n\n| key | form | default | what |\n|---|---|---|---|"
    required = block.get("required", [])
    for key, field in block["properties"].items():
        default = "required" if key in required else _default(field.get("default"))
        # the schema leaves out a description that is the one of the block itself
        what = field.get("description") or blocks[field["$ref"].rsplit("/", 1)[1]]["description"]
        yield f"| `{key}` | {_form(field, blocks)} | {default} | {what} |"
    yield ""


def _default(value: object) -> str:
    if value is None or value == "":
        return ""
    if value in ([], {}):
        return "none"
    if isinstance(value, dict):
        return "as in its block"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _form(field: dict[str, Any], blocks: dict[str, Any]) -> str:
    """What may stand there, in a few words, of one property of the schema."""
    if "anyOf" in field:  # T | None
        return _form(next(option for option in field["anyOf"] if option.get("type") != "null"), blocks)
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        if name in {**_BLOCKS, **_MAPPING_BLOCKS}:
            return "series" if name == "SeriesItem" else "block"
        return ", ".join(f"`{value}`" for value in blocks[name]["enum"])
    if field["type"] == "array":
        return "list"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    plain = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true, false",
        "object": "names and texts",
    }
    form = field.get("format") or plain[field["type"]]
    entry = field.get("additionalProperties")
    return f"{form}{_bounds(entry if isinstance(entry, dict) else field)}"


def _bounds(field: dict[str, Any]) -> str:
    """Those of a number, or of a text with some of its own."""
    if LEAST in field:
        return f", {field[LEAST]} to {field[MOST]}"
    if "exclusiveMinimum" in field:
        return f", above {field['exclusiveMinimum']:g} and at most {field['maximum']:.12g}"
    return f", {field['minimum']:.12g} to {field['maximum']:.12g}" if "minimum" in field else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
