"""The reference of dashboards, made from the dashboards themselves.

`python -m controlplane.publish.dashboards.page > docs/reference/dashboards.md` writes it; a test holds it up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from controlplane.publish.dashboards.builder import Dashboard
from controlplane.publish.dashboards.catalogue import dashboards

_HEAD = """# Dashboards

`controlplane dashboards build` writes them as files for Grafana 10.4 and later (classic schema, fixed uids); the same
files stand in `dashboards/`. Each has one variable for the data source, a Prometheus that scrapes the control plane,
and filters by label. Series of two replicas are merged, never added up. Where nothing is known a panel says so: a gap
is not a zero. Lines and rows link on to the dashboard that tells more, for the same model, server or GPU.

Every panel is marked where the number of desired instances changed, actions were carried out, people's overrides and
freezes held, burn alerts fired and conditions were wrong; what the control plane pushes to Grafana itself carries the
tag `controlplane`.

| question | dashboard |
|---|---|
| Is any model burning its budget? Is anything down? | [Fleet overview](#fleet-overview), then [Model SLO](#model-slo) |
| Why did the scaler do that, and what will it do next? | [Autoscaler](#autoscaler) |
| Where do requests spend their time? | [Triton server](#triton-server), [vLLM](#vllm) |
| Are the GPUs well, and how are they cut? | [GPU and MIG](#gpu-and-mig) |
| What does it cost? | [Cost](#cost) |
| Can I trust what I see? | [Control plane health](#control-plane-health) |
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(line for made in dashboards() for line in _section(made))


def _section(made: Dashboard) -> Iterator[str]:
    filters = ", ".join(variable["label"] for variable in made["templating"]["list"][1:])
    yield f"\n## {made['title']}\n\n{made['description']} File: `{made['uid']}.json`. Filters: {filters}.\n"
    yield "\n| panel | what it answers |\n|---|---|\n"
    for panel in made["panels"]:
        if panel["type"] == "row":
            yield f"| *{panel['title']}* | |\n"
        else:
            yield f"| {panel['title']} | {panel['description']} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
