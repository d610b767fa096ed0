"""The ScaledObject in deploy/ asks for what the control plane answers, and undoes what HPA would do to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controlplane.config import parse_settings
from controlplane.config.settings import KedaSettings
from controlplane.domain.errors import ConfigurationError
from controlplane.publish.keda.answers import WORKLOAD_KEY

ROOT = Path(__file__).parents[3]
SPEC = yaml.safe_load((ROOT / "deploy/keda/scaledobject.yaml").read_text())["spec"]
SERVERS = "servers: [{name: v0, kind: vllm, http: 'http://127.0.0.1:8000'}]\n"


def test_its_trigger_names_a_workload_and_the_usual_port() -> None:
    (trigger,) = SPEC["triggers"]
    assert trigger["type"] == "external-push"
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"][WORKLOAD_KEY] == "llama"
    assert trigger["metadata"]["scalerAddress"].endswith(f":{KedaSettings().port}")


@pytest.mark.parametrize("direction", ["scaleUp", "scaleDown"])
def test_hpa_ignores_nothing_and_waits_for_nothing(direction: str) -> None:
    rules = SPEC["advanced"]["horizontalPodAutoscalerConfig"]["behavior"][direction]
    assert (rules["tolerance"], rules["stabilizationWindowSeconds"]) == ("0", 0)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("{cert_file: c.pem}", "keda.key_file: nothing is not allowed; both or none of: cert_file, key_file"),
        ("{client_ca_file: ca.pem}", "keda.client_ca_file: 'ca.pem' is not allowed; only with cert_file and key_file"),
        ("{port: 70000}", "keda.port: 70000"),
        ("{port: 6000}", "keda: this block is not allowed; with a workload that has publish_only: true"),
    ],
)
def test_a_wrong_block_is_refused(block: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_settings(f"{SERVERS}keda: {block}\n", {})
    assert fault in str(refused.value)
