"""Layouts cut under the GPU operator, on our own API server with a mig-manager that has the real one's states."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from controlplane.act.mig.operator import reading
from controlplane.act.mig.operator.actuator import MigOperator, Touched
from controlplane.act.mig.operator.change import NodeChange
from controlplane.act.mig.operator.journal import ANNOTATION
from controlplane.collect.worker import Worker
from controlplane.decide.mig import Gpu, MigModel, MigQuestion
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.worth import BY_LABEL
from controlplane.domain.failures import FailureClass
from controlplane.domain.layouts import LayoutPlan
from controlplane.domain.mig import Act, GpuOperator, LayoutState, Slice
from controlplane.kube.nodes import Nodes
from controlplane.loop.mig_going import FailedError
from controlplane.loop.mig_nodes import ByNodes
from tests.kube.cluster import Cluster
from tests.kube.fixtures import REAL, Rights
from tests.kube.gpu_node import CONFIG_MAP, FILE, LABEL, NAMESPACE, STATE, GpuNode
from tests.kube.server import ApiServer
from tests.unit.loop.mig_node import Free

MERGE = "application/merge-patch+json"
TWO = (Slice("1g.10gb", 0), Slice("1g.10gb", 1))
HALVES = (Slice("3g.40gb", 0), Slice("3g.40gb", 4))
REASON = "" if REAL in os.environ else "In use by another client"
"""Of a log, for which a real API server asks a kubelet."""
ROLES = Path(__file__).parents[2] / "deploy" / "kubernetes" / "mig.yaml"


@pytest.fixture
def node(cluster: Cluster) -> Iterator[GpuNode]:
    with GpuNode(cluster) as node:
        yield node
    if REAL in os.environ:
        node.remove()


class Under:
    """An actuator under test, on a clock that the test sets."""

    def __init__(self, node: GpuNode, kubeconfig: str = "") -> None:
        self.node = node
        self.now = 1000.0
        where = kubeconfig or str(node.cluster.kubeconfig)
        self.actuator = MigOperator(
            GpuOperator(CONFIG_MAP, NAMESPACE, where),
            node,
            Worker("mig"),
            clock=lambda: self.now,
            request_s=2.0,
            poll_interval_s=0.005,
        )

    def later(self) -> None:
        """All deadlines are over."""
        self.now += 10_000

    async def change(self, *layouts: tuple[Slice, ...], dry_run: bool = False) -> NodeChange:
        wanted = {gpu.uuid: layout for gpu, layout in zip(self.node.gpus, layouts, strict=False)}
        async with asyncio.timeout(30):
            change = await self.actuator.change(self.node.name, wanted, dry_run=dry_run)
        await self.actuator.close()
        return change


async def until(wanted: Callable[[], object]) -> None:
    ends = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


def failed(change: NodeChange, failure: FailureClass, *words: str, state: LayoutState = LayoutState.FAILED) -> None:
    assert (change.state, change.failure) == (state, failure), change
    for word in words:
        assert word in str(change)


def at_rest(node: GpuNode) -> bool:
    """Neither cordoned nor with a journal."""
    now = node.read()
    return not now.spec.unschedulable and ANNOTATION not in (now.metadata.annotations or {})


def cordoned(node: GpuNode) -> str:
    """The journal of a cordoned node."""
    now = node.read()
    assert now.spec.unschedulable
    return str(now.metadata.annotations[ANNOTATION])


def counts(node: GpuNode) -> list[dict[str, int]]:
    return [dict(Counter(piece.profile for piece in gpu.slices)) for gpu in node.gpus]


# a change


async def test_a_layout_is_cut_after_the_pods_with_gpus_have_gone(node: GpuNode) -> None:
    node.pod("llama")
    node.pod("bert", "StatefulSet")
    node.pod("agent", "DaemonSet", "")
    node.pod("without", resource="")
    change = await Under(node).change(HALVES)
    assert change.state is LayoutState.DONE, change
    assert counts(node) == [{"3g.40gb": 2}, {}]
    assert node.history == ["pending", "success"]
    names = [f"{node.cluster.namespace}/{name}" for name in ("bert", "llama")]
    assert sorted(change.drained) == names
    assert node.pods() == ["agent", "without"]
    assert change.resources == {"nvidia.com/gpu": 1, "nvidia.com/mig-3g.40gb": 2}
    assert "pods ask for nvidia.com/gpu: 1, nvidia.com/mig-3g.40gb: 2; drained, whichever" in str(change)
    told = {cut.uuids[0] for cut in change.gpus[0].slices}
    assert told == set(node.gpus[0].slices.values())
    assert at_rest(node)


async def test_what_is_so_already_is_not_touched(node: GpuNode) -> None:
    node.cut(0, {"3g.40gb": 2})
    node.pod("llama")
    version = node.read().metadata.resource_version
    change = await Under(node).change(HALVES)
    assert (change.state, change.detail, change.drained) == (LayoutState.DONE, "it is cut so already", ())
    assert node.read().metadata.resource_version == version
    assert node.config() == FILE


async def test_a_dry_run_tells_who_would_go_and_changes_nothing(node: GpuNode) -> None:
    node.pod("llama")
    version = node.read().metadata.resource_version
    change = await Under(node).change(HALVES, dry_run=True)
    assert change.state is LayoutState.PLANNED
    assert f"would be drained, whichever of the node's GPUs they had: {node.cluster.namespace}/llama" in str(change)
    assert change.resources == {"nvidia.com/gpu": 1, "nvidia.com/mig-3g.40gb": 2}
    assert node.read().metadata.resource_version == version


async def test_one_gpu_is_cut_by_the_port_and_its_new_devices_are_told(node: GpuNode) -> None:
    node.cut(0, {"1g.10gb": 1})
    node.cut(1, {"3g.40gb": 1})
    kept = dict(node.gpus[1].slices)
    under, asked = Under(node), (Slice("1g.10gb", 0), Slice("1g.10gb", 6))
    planned = await under.actuator.apply(node.name, node.gpus[0].uuid, asked, dry_run=True)
    assert [(step.act, step.done) for step in planned.steps] == [(Act.DESTROY, False)] + 2 * [(Act.CREATE, False)]
    outcome = await under.actuator.apply(node.name, node.gpus[0].uuid, asked, dry_run=False)
    await under.actuator.close()
    assert outcome.state is LayoutState.DONE, outcome
    destroyed, first, second = outcome.steps
    assert (destroyed.act, destroyed.piece) == (Act.DESTROY, Slice("1g.10gb", 6))
    assert (first.piece, first.note) == (Slice("1g.10gb", 5), "mig-parted chose the place")
    assert (second.piece, second.note) == (Slice("1g.10gb", 6), "")
    assert {first.uuid, second.uuid} == set(node.gpus[0].slices.values())
    assert node.gpus[1].slices == kept


async def test_mig_is_turned_off_by_asking_for_the_whole_gpu(node: GpuNode) -> None:
    node.cut(0, {"1g.10gb": 7})
    change = await Under(node).change((Slice("whole", 0),))
    assert change.state is LayoutState.DONE, change
    assert not node.gpus[0].mig
    assert change.resources == {"nvidia.com/gpu": 2}


async def test_a_node_that_was_cordoned_before_stays_so(node: GpuNode) -> None:
    node.cluster.core.patch_node(node.name, {"spec": {"unschedulable": True}}, _content_type=MERGE)
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    now = node.read()
    assert now.spec.unschedulable
    assert ANNOTATION not in (now.metadata.annotations or {})


async def test_who_cordons_the_node_at_the_same_moment_is_not_undone(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = Nodes.patch, [True]

    def patch(self: Nodes, name: str, body: Any) -> None:
        if first and first.pop():
            node.cluster.core.patch_node(name, {"spec": {"unschedulable": True}}, _content_type=MERGE)
        real(self, name, body)

    monkeypatch.setattr(Nodes, "patch", patch)
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert node.read().spec.unschedulable


async def test_a_reboot_on_the_way_is_waited_for(node: GpuNode) -> None:
    node.reboots = True
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert node.history == ["pending", "rebooting", "success"]


# the ConfigMap


async def test_others_entries_stay_as_they_were_written_and_unused_ones_of_ours_go(node: GpuNode) -> None:
    await Under(node).change(TWO)
    first = node.config()
    await Under(node).change(HALVES)
    await Under(node).change((Slice("7g.80gb", 0),))
    entries = yaml.safe_load(node.config())["mig-configs"]
    ours = {name for name in entries if name.startswith("controlplane-")}
    assert len(ours) == 3  # both names of the newest, and that which the label had when they were written
    assert str(node.read().metadata.labels[LABEL]) in ours
    for line in FILE.splitlines():
        assert line in node.config().splitlines()
    assert first.count("controlplane-") == 2


async def test_a_conflict_over_the_config_map_is_tried_again_on_what_there_is_then(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Nodes.config_map, [2]

    def config_map(self: Nodes, namespace: str, name: str) -> Any:
        found = real(self, namespace, name)
        if left[0]:
            left[0] -= 1
            data = {"config.yaml": node.config() + f"  other-{left[0]}: [{{devices: all, mig-enabled: false}}]\n"}
            node.cluster.core.patch_namespaced_config_map(CONFIG_MAP, NAMESPACE, {"data": data}, _content_type=MERGE)
        return found

    monkeypatch.setattr(Nodes, "config_map", config_map)
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert {"other-0", "other-1", "all-disabled"} < set(yaml.safe_load(node.config())["mig-configs"])


async def test_a_file_that_mig_manager_has_not_yet_is_waited_for_by_setting_the_label_again(node: GpuNode) -> None:
    node.behind = 30
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert node.history[0] == "failed"
    assert node.history[-2:] == ["pending", "success"]
    assert at_rest(node)


async def test_a_config_map_that_is_not_there_is_told_and_nothing_is_changed(node: GpuNode) -> None:
    node.cluster.core.delete_namespaced_config_map(CONFIG_MAP, NAMESPACE)
    node.idle = True
    change = await Under(node).change(TWO)
    failed(change, FailureClass.INVALID_CONFIGURATION, "migManager.config.name", state=LayoutState.REFUSED)
    assert at_rest(node)


# draining


def budget(node: GpuNode, allowed: int) -> None:
    meta, spec = {"name": "keep"}, {"minAvailable": 1, "selector": {"matchLabels": {"app": "llm"}}}
    node.cluster.make("policy/v1", "poddisruptionbudgets", {"kind": "P", "metadata": meta, "spec": spec})
    allow(node, allowed)


def allow(node: GpuNode, allowed: int) -> None:
    where = ("policy", "v1", node.cluster.namespace, "poddisruptionbudgets", "keep")
    body = {"status": {"disruptionsAllowed": allowed}}
    node.cluster.any.patch_namespaced_custom_object_status(*where, body, _content_type=MERGE)


async def test_a_disruption_budget_is_waited_for(api_server: ApiServer, node: GpuNode) -> None:
    node.pod("llama-a")
    node.pod("llama-b")
    budget(node, 1)
    going = asyncio.create_task(Under(node).change(TWO))
    await until(lambda: len(api_server.asked("create", "pods/eviction")) > 4)
    await until(lambda: len(node.pods()) == 1)
    assert not node.history
    allow(node, 1)
    assert (await going).state is LayoutState.DONE
    assert node.pods() == []


async def test_pods_that_may_not_go_in_time_leave_the_gpus_as_they_were_and_the_node_open(
    api_server: ApiServer, node: GpuNode
) -> None:
    node.pod("llama")
    budget(node, 0)
    under = Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: len(api_server.asked("create", "pods/eviction")) > 2)
    under.later()
    failed(await going, FailureClass.TIMEOUT, f"{node.cluster.namespace}/llama (kept by a PodDisruptionBudget)")
    assert at_rest(node)
    assert node.pods() == ["llama"]
    assert not node.history


async def test_pods_of_a_daemon_set_are_left_though_mig_manager_then_fails(node: GpuNode) -> None:
    node.pod("burn-in", "DaemonSet")
    change = await Under(node).change(TWO)
    failed(change, FailureClass.BACKEND, REASON)
    assert node.pods() == ["burn-in"]


async def test_nobody_has_to_go_where_only_the_label_is_to_be_set(node: GpuNode) -> None:
    node.cut(0, {"1g.10gb": 2})
    node.pod("llama")
    node.label({STATE: "failed"})
    change = await Under(node).change(TWO)
    assert (change.state, change.drained) == (LayoutState.DONE, ())
    assert node.history == ["success"]
    assert node.pods() == ["llama"]
    assert at_rest(node)


async def test_a_pod_that_nobody_would_make_again_is_not_ended(node: GpuNode) -> None:
    node.pod("notebook", owner="")
    change = await Under(node).change(TWO)
    failed(change, FailureClass.CONTROL_NOT_ALLOWED, f"{node.cluster.namespace}/notebook", state=LayoutState.REFUSED)
    assert node.pods() == ["notebook"]
    assert at_rest(node)


# what mig-manager says, or does not


async def test_a_manager_that_stays_pending_for_ever_is_given_up_and_the_node_left_cordoned(node: GpuNode) -> None:
    node.hangs, under = True, Under(node)
    node.on_hang = under.later
    failed(await under.change(TWO), FailureClass.TIMEOUT, "nothing final", "last pending", "gpu-1 stays cordoned")
    assert "last pending" in cordoned(node)
    node.hangs = False  # asked again, the label changes to the other name
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert at_rest(node)


async def test_an_agent_that_mig_manager_sends_away_is_waited_for_and_its_restart_mends_what_hung(
    node: GpuNode,
) -> None:
    node.client = node.hangs = True
    under = Under(node)
    node.on_hang = under.later
    failed(await under.change(TWO), FailureClass.TIMEOUT, "delete mig-manager's own pod")
    failed(await Under(node).change(TWO), FailureClass.UNREACHABLE, "no answer", state=LayoutState.UNREACHABLE)
    node.hangs = False
    node.restart()
    await until(lambda: (node.read().status.allocatable or {}).get("nvidia.com/mig-1g.10gb") == "2")
    assert node.history[-1] == "success"
    change = await Under(node).change(TWO)
    assert (change.state, change.detail) == (LayoutState.DONE, "it is cut so already")
    assert at_rest(node)
    assert (await Under(node).change(HALVES)).state is LayoutState.DONE


async def test_a_stale_success_is_none(node: GpuNode) -> None:
    node.idle, under = True, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    assert STATE not in node.read().metadata.labels  # that of before is taken away together with the change
    node.label({STATE: "success"})  # an earlier run of mig-manager ends late
    await asyncio.sleep(0.05)
    assert not going.done()
    node.idle = False
    assert (await going).state is LayoutState.DONE
    assert counts(node)[0] == {"1g.10gb": 2}


async def test_success_without_the_slices_on_offer_is_a_failure(node: GpuNode) -> None:
    node.plugin, under = False, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.history[-1:] == ["success"])
    under.later()
    failed(await going, FailureClass.TIMEOUT, "nvidia.com/mig-1g.10gb is 0, not 2", "device plugin", "stays cordoned")


async def test_success_that_no_agent_confirms_is_a_failure(node: GpuNode) -> None:
    node.idle, under = True, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    node.agent = node.idle = False
    await until(lambda: node.history[-1:] == ["success"])
    under.later()
    failed(await going, FailureClass.TIMEOUT, "nobody tells how its GPUs are cut")


async def test_a_node_with_a_lost_gpu_is_refused_and_left_as_it_is(node: GpuNode) -> None:
    node.gpus[0].lost = True
    under = Under(node)
    for dry_run in (True, False):
        change = await under.actuator.change(node.name, {node.gpus[1].uuid: TWO}, dry_run=dry_run)
        failed(change, FailureClass.BACKEND, "GPU 0 of the same node", "is lost", "boot", state=LayoutState.REFUSED)
    assert at_rest(node)
    assert node.config() == FILE


async def test_success_is_none_where_a_gpu_was_lost_meanwhile(node: GpuNode) -> None:
    node.idle, under = True, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    node.gpus[1].lost, node.idle = True, False
    await until(lambda: node.history[-1:] == ["success"])
    under.later()
    failed(await going, FailureClass.TIMEOUT, "nobody tells how its GPUs are cut")
    assert counts(node) == [{"1g.10gb": 2}, {}]


async def test_a_failure_of_mig_manager_leaves_the_node_cordoned_and_tells_the_reason_of_its_log(node: GpuNode) -> None:
    node.refuses = True
    change = await Under(node).change(TWO)
    told = f"-a{REASON and f': {REASON}'}; node gpu-1 stays cordoned"
    failed(change, FailureClass.BACKEND, told, "Ask again")
    assert '"phase": "failed"' in cordoned(node)
    assert counts(node) == [{}, {}]
    assert await Under(node).actuator.resume() == ()  # that is for a person, or for being asked again
    (left,) = await Under(node).actuator.failed()
    assert (left.node, left.state) == ("gpu-1", LayoutState.FAILED)
    assert "mig-manager says failed" in left.why
    assert "Ask again" in left.why
    node.refuses = False
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert await Under(node).actuator.failed() == ()
    assert at_rest(node)


async def test_a_failed_node_that_is_asked_back_to_what_it_is_goes_on_at_once(node: GpuNode) -> None:
    node.refuses = True
    await Under(node).change(TWO)
    node.refuses = False
    change = await Under(node).change(())
    assert change.state is LayoutState.DONE
    assert at_rest(node)
    assert node.read().metadata.labels[STATE] == "success"


async def test_another_hand_on_the_label_ends_the_change(node: GpuNode) -> None:
    node.hangs = True
    going = asyncio.create_task(Under(node).change(TWO))
    await until(lambda: node.history)
    node.label({LABEL: "all-1g.10gb"})
    failed(await going, FailureClass.SUPERSEDED, "all-1g.10gb", "stays cordoned")


async def test_a_manager_at_work_for_somebody_else_is_left_alone(node: GpuNode) -> None:
    node.label({STATE: "pending"})
    for dry_run in (True, False):
        change = await Under(node).change(TWO, dry_run=dry_run)
        failed(change, FailureClass.TIMEOUT, "at work on all-disabled (pending)", state=LayoutState.REFUSED)
    assert at_rest(node)
    assert node.config() == FILE


# strategies


async def test_the_strategy_single_takes_the_same_slices_everywhere(api_server: ApiServer, cluster: Cluster) -> None:
    assert api_server
    with GpuNode(cluster, strategy="single") as node:
        change = await Under(node).change(TWO)
        failed(change, FailureClass.INVALID_CONFIGURATION, "`mixed` takes any", state=LayoutState.REFUSED)
        done = await Under(node).change(TWO, TWO)
        assert (done.state, done.resources) == (LayoutState.DONE, {"nvidia.com/gpu": 4})
        assert at_rest(node)


# crashes


class Crash(BaseException):
    """This process ended."""


def crashing(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Write number `at` // 2 ends the process: before it is made, or, for an odd number, after. Gives the writes."""
    made: list[str] = []

    def crashes(name: str) -> Callable[..., object]:
        real = getattr(Nodes, name)

        def call(*args: object) -> object:
            made.append(name)
            if len(made) - 1 == at // 2 and at % 2 == 0:
                raise Crash
            told = real(*args)
            if len(made) - 1 == at // 2:
                raise Crash
            return told

        return call

    for name in ("patch", "evict", "patch_config_map"):
        monkeypatch.setattr(Nodes, name, crashes(name))
    return made


async def test_a_crash_at_any_write_converges(api_server: ApiServer, cluster: Cluster) -> None:
    assert api_server
    at, over = 0, False
    while not over:
        with GpuNode(cluster, name=f"gpu-{at}") as node, pytest.MonkeyPatch.context() as patches:
            node.cut(1, {"3g.40gb": 1})
            kept = dict(node.gpus[1].slices)
            node.pod(f"llama-{at}")
            writes = crashing(patches, at)
            try:
                change = await Under(node).change(TWO)
                over = True
                assert change.state is LayoutState.DONE
                assert [*dict.fromkeys(writes)] == ["patch_config_map", "patch", "evict"]
            except Crash:
                patches.undo()
                again = Under(node)
                resumed = await again.actuator.resume()
                assert all(change.state is LayoutState.DONE for change in resumed), (at, resumed)
                assert resumed or at_rest(node)
                assert (await again.change(TWO)).state is LayoutState.DONE, at
            assert counts(node) == [{"1g.10gb": 2}, {"3g.40gb": 1}]
            assert node.gpus[1].slices == kept
            assert node.cuts == 1  # nothing is cut twice
            assert at_rest(node)
        at += 1
    assert at > 10


async def test_a_change_of_mind_after_a_crash_waits_for_what_is_under_way(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patches:
        crashing(patches, 5)  # after the label was set
        with pytest.raises(Crash):
            await Under(node).change(TWO)
    assert (await Under(node).change(HALVES)).state is LayoutState.DONE
    assert counts(node)[0] == {"3g.40gb": 2}
    assert at_rest(node)


async def test_a_change_whose_entry_somebody_took_away_is_told_and_can_be_asked_for_anew(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patches:
        crashing(patches, 3)  # after the node was cordoned
        with pytest.raises(Crash):
            await Under(node).change(TWO)
    body = {"data": {"config.yaml": FILE}}
    node.cluster.core.patch_namespaced_config_map(CONFIG_MAP, NAMESPACE, body, _content_type=MERGE)
    (resumed,) = await Under(node).actuator.resume()
    failed(resumed, FailureClass.SUPERSEDED, "is gone; node gpu-1 stays cordoned", "ask for its layout anew")
    assert (await Under(node).change(TWO)).state is LayoutState.DONE
    assert at_rest(node)


# what people say meanwhile


def drill(models: Touched) -> str:
    return f"{models} frozen by ann"


async def test_a_freeze_while_pods_are_drained_opens_the_node_and_leaves_its_gpus_as_they_were(
    api_server: ApiServer, node: GpuNode
) -> None:
    node.pod("llama")
    budget(node, 0)
    said: list[str] = []
    wanted = {node.gpus[0].uuid: TWO}
    change = Under(node).actuator.change(
        node.name, wanted, dry_run=False, models=("llm",), held=lambda _: "".join(said)
    )
    going = asyncio.create_task(change)
    await until(lambda: len(api_server.asked("create", "pods/eviction")) > 2)
    said.append("everything is frozen by ann")
    async with asyncio.timeout(30):
        held = await going
    assert (held.state, held.detail) == (
        LayoutState.HELD,
        "everything is frozen by ann; its GPUs are as they were, and node gpu-1 was uncordoned",
    )
    assert at_rest(node)
    assert node.pods() == ["llama"]
    assert not node.history, "mig-manager was never told"


async def test_a_frozen_change_is_not_begun(node: GpuNode) -> None:
    node.pod("llama")
    version = node.read().metadata.resource_version
    held = await Under(node).actuator.cut(node.name, {node.gpus[0].uuid: TWO}, ("llm",), drill, lambda: "")
    assert (held.state, held.why) == (LayoutState.HELD, "('llm',) frozen by ann")
    assert node.read().metadata.resource_version == version
    assert node.pods() == ["llama"]


@pytest.mark.parametrize(("at", "ends"), [(3, LayoutState.HELD), (5, LayoutState.HELD), (7, LayoutState.DONE)])
async def test_a_change_that_is_resumed_under_a_freeze_never_leaves_the_node_cordoned(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch, at: int, ends: LayoutState
) -> None:
    """After the cordon and after an eviction the node is opened again; once mig-manager has the word it goes on."""
    node.pod("llama")
    with monkeypatch.context() as patches:
        crashing(patches, at)
        with pytest.raises(Crash):
            await Under(node).actuator.change(
                node.name, {node.gpus[0].uuid: TWO}, dry_run=False, models=("llm", "other")
            )
    (resumed,) = await Under(node).actuator.resume(drill)
    assert resumed.state is ends, resumed
    assert at_rest(node)
    assert counts(node)[0] == ({"1g.10gb": 2} if ends is LayoutState.DONE else {})
    if ends is LayoutState.HELD:
        assert resumed.detail.startswith("('llm', 'other') frozen by ann; ")
        assert not node.history
    assert await Under(node).actuator.resume(drill) == (), "nothing is left of it"


# who leads meanwhile


def let_go(node: GpuNode) -> None:
    """As the documentation says, by kubectl."""
    body = {"metadata": {"annotations": {ANNOTATION: None}}, "spec": {"unschedulable": None}}
    node.cluster.core.patch_node(node.name, body, _content_type=MERGE)


class Draining:
    """A change while a pod takes its time to go; `lost` is why its control plane may do nothing more."""

    def __init__(self, node: GpuNode) -> None:
        node.pod("llama")
        self._finalize(node, ["example.com/last-requests"])
        self.node, self.under, self.lost = node, Under(node), ""

    async def __aenter__(self) -> Self:
        wanted = {self.node.gpus[0].uuid: TWO}
        change = self.under.actuator.change(
            self.node.name, wanted, dry_run=False, models=("llm",), stopped=lambda: self.lost
        )
        self.going = asyncio.create_task(change)
        await until(lambda: ANNOTATION in (self.node.read().metadata.annotations or {}))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.going.cancel()
        await asyncio.gather(self.going, return_exceptions=True)
        await self.under.actuator.close()
        self._finalize(self.node, None)

    async def ended(self) -> NodeChange:
        async with asyncio.timeout(30):
            return await self.going

    def _finalize(self, node: GpuNode, finalizers: list[str] | None) -> None:
        body = {"metadata": {"finalizers": finalizers}}
        node.cluster.core.patch_namespaced_pod("llama", node.cluster.namespace, body, _content_type=MERGE)


async def test_who_lost_the_lead_leaves_a_node_as_it_is_for_the_next_to_go_on_with(node: GpuNode) -> None:
    async with Draining(node) as draining:
        draining.lost = "another control plane may lead by now"
        left = await draining.ended()
    assert (left.state, left.detail) == (
        LayoutState.HELD,
        "another control plane may lead by now; node gpu-1 is left to it as it is",
    )
    assert '"phase": "draining"' in cordoned(node)
    (resumed,) = await Under(node).actuator.resume()
    assert resumed.state is LayoutState.DONE, resumed
    assert counts(node)[0] == {"1g.10gb": 2}
    assert at_rest(node)


@pytest.mark.parametrize(
    ("writes", "left"),
    [(["patch_config_map"], "a change of node gpu-1"), (["patch_config_map", "patch", "evict"], "the eviction of pod")],
)
async def test_who_loses_the_lead_between_two_writes_of_one_look_does_not_make_the_second(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch, writes: list[str], left: str
) -> None:
    for pod in ("llama-a", "llama-b"):
        node.pod(pod)
    made: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        real = getattr(Nodes, name)

        def call(*of: object) -> object:
            told = real(*of)
            made.append(name)
            return told

        return call

    with monkeypatch.context() as patches:
        for name in ("patch", "evict", "patch_config_map"):
            patches.setattr(Nodes, name, noted(name))
        under, wanted = Under(node), {node.gpus[0].uuid: TWO}
        lost = "another control plane may lead by now"
        change = await under.actuator.change(
            node.name, wanted, dry_run=False, stopped=lambda: lost if len(made) >= len(writes) else ""
        )
        await under.actuator.close()
    assert made == writes
    assert change.state is LayoutState.HELD, change
    assert change.detail.startswith(f"left undone: {left}")
    assert change.detail.endswith(lost)
    assert (await Under(node).change(TWO)).state is LayoutState.DONE, "the next leader goes on"
    assert at_rest(node)


async def test_a_hold_by_the_new_leader_stays_though_the_old_one_saw_no_freeze(node: GpuNode) -> None:
    async with Draining(node) as draining:
        (held,) = await Under(node).actuator.resume(drill)
        assert held.state is LayoutState.HELD, held
        left = await draining.ended()
    assert (left.state, left.detail) == (
        LayoutState.HELD,
        "somebody let go of it: node gpu-1 has no annotation mig.controlplane/change any more",
    )
    assert at_rest(node)
    assert not node.history


async def test_a_node_of_which_somebody_let_go_by_hand_is_left_alone(node: GpuNode) -> None:
    async with Draining(node) as draining:
        let_go(node)
        left = await draining.ended()
    assert left.state is LayoutState.HELD
    assert left.detail.startswith("somebody let go of it")
    assert at_rest(node)
    assert not node.history


async def test_a_change_of_before_of_which_somebody_lets_go_is_not_begun_anew(
    node: GpuNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patches:
        crashing(patches, 3)  # after the node was cordoned
        with pytest.raises(Crash):
            await Under(node).change(TWO)
    found = reading.under_way

    def then_let_go(*of: Any) -> Any:
        told = found(*of)
        let_go(node)
        return told

    monkeypatch.setattr(reading, "under_way", then_let_go)
    (resumed,) = await Under(node).actuator.resume()
    assert resumed.state is LayoutState.HELD, resumed
    assert at_rest(node)
    assert not node.history


async def test_once_mig_manager_has_the_word_the_next_leader_waits_for_it(node: GpuNode) -> None:
    node.idle, lost = True, list[str]()
    change = Under(node).actuator.change(
        node.name, {node.gpus[0].uuid: TWO}, dry_run=False, stopped=lambda: "".join(lost)
    )
    going = asyncio.create_task(change)
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    lost.append("another control plane may lead by now")
    async with asyncio.timeout(30):
        assert (await going).state is LayoutState.HELD
    assert '"phase": "changing"' in cordoned(node)
    node.idle = False
    (resumed,) = await Under(node).actuator.resume()
    assert resumed.state is LayoutState.DONE, resumed
    assert node.cuts == 1
    assert at_rest(node)


# faults and rights


async def test_an_api_server_that_is_away_for_a_while_is_borne(api_server: ApiServer, node: GpuNode) -> None:
    node.idle, under = True, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    api_server.answer(503, verb="list", resource="pods", times=5)
    node.idle = False
    assert (await going).state is LayoutState.DONE


async def test_an_api_server_that_stays_away_ends_it_and_it_goes_on_later(api_server: ApiServer, node: GpuNode) -> None:
    node.idle, under = True, Under(node)
    going = asyncio.create_task(under.change(TWO))
    await until(lambda: node.read().metadata.labels[LABEL] != "all-disabled")
    api_server.answer(503, verb="get", resource="nodes")
    await until(lambda: sum(request.status == 503 for request in api_server.requests) > 1)
    under.now += 200
    failed(await going, FailureClass.UNREACHABLE, "answered 503", "goes on", state=LayoutState.UNREACHABLE)
    api_server.heal()
    node.idle = False
    (resumed,) = await Under(node).actuator.resume()
    assert resumed.state is LayoutState.DONE, resumed
    assert at_rest(node)


def give(rights: Rights, verb: str = "", resource: str = "") -> None:
    """What deploy/ gives the service account of the control plane, but for one verb."""
    for one in yaml.safe_load_all(ROLES.read_text()):
        if "rules" in one:
            few = [
                {**rule, "verbs": [v for v in rule["verbs"] if v != verb]} if resource in rule["resources"] else rule
                for rule in one["rules"]
            ]
            rights.allow([rule for rule in few if rule["verbs"]], one["metadata"].get("namespace", "*"))


async def test_the_roles_in_deploy_are_enough(request: pytest.FixtureRequest, node: GpuNode, rights: Rights) -> None:
    give(rights)
    node.pod("llama")
    assert (await Under(node, rights.kubeconfig).change(TWO)).state is LayoutState.DONE
    if REAL not in os.environ:
        server: ApiServer = request.getfixturevalue("api_server")
        assert not [one for one in server.requests if one.status == 403]


@pytest.mark.parametrize(
    ("verb", "resource", "state"),
    [
        ("get", "nodes", LayoutState.REFUSED),
        ("list", "nodes", LayoutState.REFUSED),
        ("patch", "nodes", LayoutState.REFUSED),
        ("list", "pods", LayoutState.REFUSED),
        ("get", "configmaps", LayoutState.REFUSED),
        ("patch", "configmaps", LayoutState.REFUSED),
        ("create", "pods/eviction", LayoutState.FAILED),
    ],
)
async def test_a_missing_right_is_named(
    node: GpuNode, rights: Rights, verb: str, resource: str, state: LayoutState
) -> None:
    node.pod("llama")
    give(rights, verb, resource)
    change = await Under(node, rights.kubeconfig).change(TWO)
    asked = "get, list and watch" if verb == "list" else verb
    failed(change, FailureClass.CONTROL_NOT_ALLOWED, f"needs {asked} of {resource}", "mig.yaml", state=state)
    assert node.pods() == ["llama"]


# as the loop does it


def planned(node: GpuNode) -> LayoutPlan:
    """Two models for slices, of which the node has none."""
    gpus = tuple(Gpu(gpu.uuid, gpu.board, (Slice("whole", 0),)) for gpu in node.gpus)
    small = MigModel("small", 10.0, {"1g.10gb": 5.0}, 6.0)
    large = MigModel("large", 8.0, {"4g.40gb": 8.0}, 30.0)
    return propose(MigAsk(MigQuestion(gpus, (small, large)), 3600.0, BY_LABEL))


async def test_a_plan_of_the_loop_is_carried_out_and_its_gpus_have_the_slices_that_are_wanted(node: GpuNode) -> None:
    node.pod("llama")
    plan, free = planned(node), Free()
    assert plan.pays
    hands = ByNodes(Under(node).actuator, node)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        await hands.carry_out(plan, dict.fromkeys((gpu.uuid for gpu in node.gpus), node.name), free)
    wanted = [dict(Counter(piece.profile for piece in plan.layouts[gpu.uuid])) for gpu in node.gpus]
    assert [found or {"whole": 1} for found in counts(node)] == wanted
    assert free.done == len(plan.steps)
    assert node.pods() == []
    assert at_rest(node)


async def test_a_node_that_cannot_be_cut_ends_the_plan_and_is_named(node: GpuNode) -> None:
    node.refuses = True
    hands = ByNodes(Under(node).actuator, node)  # type: ignore[arg-type]
    with pytest.raises(FailedError, match="mig-manager says failed") as failure:
        await hands.carry_out(planned(node), dict.fromkeys((gpu.uuid for gpu in node.gpus), node.name), Free())
    assert failure.value.node == node.name
    assert cordoned(node)
