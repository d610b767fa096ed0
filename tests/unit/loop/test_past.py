"""What an import from a Prometheus leaves out."""

from __future__ import annotations

from controlplane.config import parse_settings
from controlplane.loop.past import left_out

FLEET = parse_settings(
    """
prometheus: [{name: prom, url: "http://prom:9090"}]
workloads:
  - {name: pods, kind: vllm, kubernetes: {namespace: ml, pods: "app=llm"}}
  - {name: targets, kind: vllm, prometheus: {source: prom, where: {job: llm}}}
models:
  - name: llm
    runs_on: [pods]
    mode: observe
    probe: {every: 30s}
    objectives:
      - {availability: 99%}
      - {e2e: 2s, target: 99%, source: probe}
  - {name: other, runs_on: [targets], mode: observe, objectives: [{availability: 99%}]}
""",
    {},
).fleet


def test_probes_and_pods_of_kubernetes_are_told_with_the_reason() -> None:
    assert left_out(FLEET, FLEET.models) == {
        "llm e2e_2000ms_probe": "our own probes are in no Prometheus",
        "pods": "Kubernetes does not tell which pods there were",
    }


def test_models_that_nobody_asked_for_are_not_named() -> None:
    assert left_out(FLEET, FLEET.models[1:]) == {}
