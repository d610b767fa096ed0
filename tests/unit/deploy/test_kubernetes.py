"""The manifests for Kubernetes say what the code asks for; tests/kube holds the rights against what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.config import load_settings
from controlplane.config.kubernetes_forms import KINDS
from controlplane.domain.scaling import DRAINED

KUBERNETES = Path(__file__).parents[3] / "deploy" / "kubernetes"


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


@pytest.mark.parametrize("name", ["discovery.yaml", "scaling.yaml"])
def test_a_binding_is_of_the_role_beside_it(name: str) -> None:
    role, binding = manifests(name)
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_cutting_gpus_has_a_role_of_the_cluster_and_one_of_the_operators_namespace_each_with_its_binding() -> None:
    cluster_role, cluster_binding, role, binding = manifests("mig.yaml")
    for of, bound in ((cluster_role, cluster_binding), (role, binding)):
        assert bound["kind"] == f"{of['kind']}Binding"
        assert (bound["roleRef"]["kind"], bound["roleRef"]["name"]) == (of["kind"], of["metadata"]["name"])
        assert bound["metadata"].get("namespace") == of["metadata"].get("namespace")
    by_resource = {rule["resources"][0]: rule for rule in role["rules"]}
    page = (KUBERNETES.parents[1] / "docs" / "how-to" / "mig.md").read_text()
    assert by_resource["configmaps"]["resourceNames"] == re.findall(r"config_map: ([\w-]+)", page)


def test_no_right_is_given_to_everything_or_to_delete() -> None:
    names = ("discovery.yaml", "scaling.yaml", "mig.yaml")
    rules = [rule for name in names for one in manifests(name) for rule in one.get("rules", ())]
    assert not any("*" in value for rule in rules for values in rule.values() for value in values)
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch", "update", "patch", "create"}
    assert [rule["resources"] for rule in rules if "create" in rule["verbs"]] == [["pods/eviction"]]


def test_each_kind_that_the_check_names_may_be_read_and_set_and_no_other() -> None:
    role, _ = manifests("scaling.yaml")
    rights = {(res, verb) for rule in role["rules"] for res in rule["resources"] for verb in rule["verbs"]}
    kinds = {f"{kind.lower()}s": kind for kind in KINDS}
    assert {res for res, verb in rights if verb == "get" and "/" not in res} == set(kinds)
    for plural in kinds:
        assert {(f"{plural}/scale", "update"), (plural, "patch")} & rights
    assert set(KINDS) >= DRAINED


def test_a_triton_pod_is_ready_once_the_models_are_that_it_loads(tmp_path: Path) -> None:
    deployment, _ = manifests("triton.yaml")
    spec = deployment["spec"]["template"]["spec"]
    (triton,) = spec["containers"]
    loaded = [arg.partition("=")[2] for arg in triton["args"] if arg.startswith("--load-model=")]
    assert [triton["readinessProbe"]["httpGet"]["path"]] == [f"/v2/models/{model}/ready" for model in loaded]
    ports = {port["name"]: port["containerPort"] for port in triton["ports"]}
    text = "".join(head(KUBERNETES / "triton.yaml"))
    path = tmp_path / "controlplane.yaml"
    path.write_text(text + "models:\n  - {name: bert_classifier, runs_on: [bert]}\n")
    (workload,) = load_settings(path, {}).fleet.workloads
    assert (workload.ports.http, workload.ports.grpc, workload.ports.metrics) == tuple(ports.values())
    assert (workload.query.kind, workload.query.name) == (deployment["kind"], deployment["metadata"]["name"])  # type: ignore[union-attr]
    grace_s = spec["terminationGracePeriodSeconds"]
    exit_s = next(int(arg.partition("=")[2]) for arg in triton["args"] if arg.startswith("--exit-timeout"))
    assert grace_s > exit_s + int(triton["lifecycle"]["preStop"]["exec"]["command"][1])
    assert "replicas" not in deployment["spec"]


def test_a_vllm_pod_is_found_by_what_the_example_says(tmp_path: Path) -> None:
    path = tmp_path / "controlplane.yaml"
    path.write_text("".join(head(KUBERNETES / "vllm.yaml")) + "models:\n  - {name: llama-8b, runs_on: [llama]}\n")
    (workload,) = load_settings(path, {}).fleet.workloads
    deployment, _ = manifests("vllm.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (workload.query.kind, workload.query.name) == (deployment["kind"], deployment["metadata"]["name"])  # type: ignore[union-attr]
    assert workload.ports.http == container["ports"][0]["containerPort"]


@pytest.mark.parametrize(("name", "model"), [("triton.yaml", "bert"), ("vllm.yaml", "llama")])
def test_a_fleet_is_drained_by_a_label_that_its_service_selects_and_its_deployment_does_not(
    tmp_path: Path, name: str, model: str
) -> None:
    path = tmp_path / "controlplane.yaml"
    path.write_text("".join(head(KUBERNETES / name)) + f"models:\n  - {{name: m, runs_on: [{model}]}}\n")
    (workload,) = load_settings(path, {}).fleet.workloads
    deployment, service = manifests(name)
    assert workload.drain is not None
    label = {workload.drain.key: workload.drain.value}
    pods = deployment["spec"]["template"]["metadata"]["labels"]
    own = deployment["spec"]["selector"]["matchLabels"]
    assert (pods, service["spec"]["selector"]) == (own | label, own | label)
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def head(path: Path) -> list[str]:
    """The lines of the configuration in the comment at the top."""
    lines = path.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("#   workloads"))
    return [line.replace("#   ", "", 1) for line in lines[first:] if line.startswith("#   ")]
