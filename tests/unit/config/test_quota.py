"""The quota of GPUs in the configuration, and what of the workloads it is checked against."""

from __future__ import annotations

import pytest

from controlplane.config import parse_settings
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Quota, Sharing

PODS = "kubernetes: {namespace: ml, pods: app=x}"
LLAMA = f"{{name: llama, kind: vllm, {PODS}, replicas: {{min: 2, max: 9}}, gpus_per_replica: 2, gpu: h100, price: 5.5}}"
BERT = f"{{name: bert, kind: triton, {PODS}, replicas: {{min: 1, max: 9}}, gpu: l4}}"


def written(quota: str, *workloads: str) -> str:
    return f"quota: {quota}\nworkloads: [{', '.join(workloads)}]\n"


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(text, {})
    return {fault.path: f"{fault.value}: {fault.allowed}" for fault in raised.value.faults}


def test_a_quota_of_all_types_and_of_some() -> None:
    fleet = parse_settings(written("{gpus: 16, by_gpu: {h100: 8}}", LLAMA, BERT), {}).fleet
    assert fleet.quota == Quota(16, {"h100": 8})
    assert [(w.gpu, w.price_per_h) for w in fleet.workloads] == [("h100", 5.5), ("l4", None)]
    assert parse_settings(f"workloads: [{LLAMA}]", {}).fleet.quota == Quota()


def test_a_quota_holds_at_least_the_fewest_replicas() -> None:
    assert faults(written("{gpus: 4, by_gpu: {h100: 3}}", LLAMA, BERT)) == {
        "quota.gpus": "4: at least 5, the GPUs of the replicas.min of all workloads together",
        "quota.by_gpu.h100": "3: at least 4, the GPUs of the replicas.min of all workloads together",
    }


def test_types_have_to_meet() -> None:
    untyped = BERT.replace(", gpu: l4", "")
    told = faults(written("{by_gpu: {h10: 8}}", LLAMA, untyped))
    assert told["quota.by_gpu.h10"] == "this key: the gpu of a workload: did you mean 'h100'? one of: h100"
    assert told["workloads[1].gpu"] == "nothing: the type of its GPUs: quota.by_gpu limits some types"


def test_a_quota_that_nothing_heeds_is_a_fault() -> None:
    assert faults(written("{}", LLAMA)) == {"quota": "nothing: at least one of: gpus, by_gpu"}
    assert "nothing else heeds it" in faults(written("{gpus: 3}", f"{{name: w, kind: vllm, {PODS}}}"))["quota"]
    assert set(faults(written("{gpus: -1}", LLAMA))) == {"quota.gpus"}


def shared(runs_on: str, *workloads: str, more: str = "") -> str:
    models = f"{{name: m, runs_on: [{runs_on}], variants: by_cost}}{more}"
    return f"workloads: [{', '.join(workloads)}]\nmodels: [{models}]\n"


OTHER = LLAMA.replace("llama", "llama-l4").replace("h100", "l4")


def test_workloads_of_one_model_may_share_its_demand_by_cost() -> None:
    (model,) = parse_settings(shared("llama, llama-l4", LLAMA, OTHER), {}).fleet.models
    assert model.variants is Sharing.BY_COST


def test_by_cost_needs_workloads_with_replicas_of_their_own_that_can_be_compared() -> None:
    path = "models[0].variants"
    assert "only on two or more workloads" in faults(shared("llama", LLAMA))[path]
    unscaled = f"{{name: llama-l4, kind: vllm, {PODS}}}"
    assert "only on two or more workloads" in faults(shared("llama, llama-l4", LLAMA, unscaled))[path]
    unpriced = OTHER.replace(", price: 5.5", "")
    assert faults(shared("llama, llama-l4", LLAMA, unpriced))[path].endswith("or of none; llama has one")
    beside = ", {name: n, runs_on: [llama]}"
    assert "n runs on llama too" in faults(shared("llama, llama-l4", LLAMA, OTHER, more=beside))[path]
