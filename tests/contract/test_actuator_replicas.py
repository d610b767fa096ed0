"""What every actuator keeps, on replicas of Kubernetes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from controlplane.act.by_kind import ActuatorByKind
from controlplane.act.dry_run import DryRunActuator
from controlplane.act.kubernetes.scaler import KubernetesScaler
from controlplane.collect.worker import Worker
from controlplane.domain.decision import Action, ActionStatus, Step, Target
from controlplane.domain.errors import NotFoundError
from controlplane.domain.fleet import Fleet, KubernetesQuery, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator
from tests.contract.test_actuator import NOW
from tests.contract.test_actuator import WRAPPERS as WRAPPED
from tests.kube.cluster import Cluster
from tests.kube.controllers import Controllers
from tests.kube.server import ApiServer

WRAPPERS = {"kubernetes" if name == "triton" else name: wrap for name, wrap in WRAPPED.items()}
"""The adapter itself, and decorated."""


def workload(name: str, query: KubernetesQuery) -> WorkloadSpec:
    return WorkloadSpec(name, ServerKind.VLLM, query, Ports(8000, 0, 8000), replicas=ReplicaBounds(0, 9))


@pytest.fixture
def controllers(api_server: ApiServer, cluster: Cluster) -> Iterator[Controllers]:
    assert api_server  # a real one may have controllers of its own
    cluster.scaled(replicas=2)
    with Controllers(cluster) as running:
        yield running


@pytest.fixture(params=list(WRAPPERS))
async def actuator(request: pytest.FixtureRequest, cluster: Cluster) -> AsyncIterator[Actuator]:
    where = str(cluster.kubeconfig)
    named = KubernetesQuery(cluster.namespace, kubeconfig=where, kind="Deployment")
    workloads = (
        workload("w", replace(named, name="llama")),
        workload("gone", replace(named, name="unheard-of")),
        workload("nameless", KubernetesQuery(cluster.namespace, pods="app=llama", kubeconfig=where)),
        workload("nowhere", KubernetesQuery(cluster.namespace, kubeconfig="/no/such", kind="Deployment", name="llama")),
    )
    fleet = Fleet((), (), workloads=workloads)
    scaler = KubernetesScaler(fleet, Worker("scale"), clock=lambda: NOW, request_s=2.0, poll_interval_s=0.02)
    made = WRAPPERS[str(request.param)](ActuatorByKind(fleet, {}, clock=lambda: NOW, scaler=scaler))
    yield made
    await made.close()
    await made.close()  # closing twice is no error


def action(replicas: int, workload: str = "w", step: Step = Step.SCALE) -> Action:
    return Action("id", "llama-8b", workload, step, Target(replicas > 0, replicas), 1.0)


async def test_the_control_mode_is_that_of_workloads_that_name_an_object(actuator: Actuator) -> None:
    assert await actuator.control_mode("w") is ControlMode.EXPLICIT
    for unknown in ("nameless", "unheard-of"):
        with pytest.raises(NotFoundError, match=unknown):
            await actuator.control_mode(unknown)


async def test_a_dry_run_changes_nothing_and_the_others_do_what_they_say(
    actuator: Actuator, controllers: Controllers, cluster: Cluster
) -> None:
    dry = isinstance(actuator, DryRunActuator)
    controllers.until_ready(2)
    for replicas in (4, 1, 0):
        asked = action(replicas)
        for _ in range(2):  # steps are declarative
            outcome = await actuator.apply(asked)
            assert outcome.action is asked
            assert outcome.finished_at == NOW
            assert outcome.detail
            assert outcome.failure is None
            assert outcome.status is (ActionStatus.DRY_RUN if dry else ActionStatus.SUCCEEDED)
        assert cluster.replicas() == (2 if dry else replicas)
    assert (await actuator.apply(action(4, step=Step.HOLD))).status is not ActionStatus.FAILED
    assert cluster.replicas() == (2 if dry else 0)


@pytest.mark.parametrize("name", ["gone", "nameless", "nowhere", "unheard-of"])
async def test_a_failure_is_an_outcome_with_class_and_remedy_and_never_raises(actuator: Actuator, name: str) -> None:
    outcome = await actuator.apply(action(3, name))
    if isinstance(actuator, DryRunActuator):
        assert outcome.status is ActionStatus.DRY_RUN
        return
    assert outcome.status is ActionStatus.FAILED
    assert outcome.failure is not None
    assert outcome.remedy
    assert {"gone": "unheard-of", "nowhere": "/no/such"}.get(name, name) in outcome.detail
