from typing import Any

from controlplane.collect.kubernetes.members import (
    Pod,
    endpoint_members,
    pod_members,
    read_endpoints,
    read_pod,
    unscheduled,
)
from controlplane.domain.fleet import KubernetesQuery, Phase, Ports, ServerKind, WorkloadSpec
from controlplane.domain.scaling import TAKEN_FROM, Drain, Unscheduled

SPEC = WorkloadSpec("llama", ServerKind.VLLM, KubernetesQuery("ml", pods="app=llama"), Ports(8000, 0, 8000))
TRITON = WorkloadSpec(
    "bert", ServerKind.TRITON, KubernetesQuery("ml", services="app=bert"), Ports(8000, 8001, 8002, "/m")
)
CREATED = 1795338000.0  # 2026-11-22T09:00:00Z


def pod(name: str = "llama-0", *, ip: str = "10.0.0.7", ready: str = "True", **more: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-11-22T09:00:00Z"} | more.pop("meta", {})
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-22T09:01:30Z"}
    other = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T09:00:01Z"}
    status = {"phase": "Running", "podIP": ip, "conditions": [other, condition]} | more.pop("status", {})
    return {"metadata": meta, "spec": {}, "status": status}


def slice_of(service: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}-x", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": list(endpoints),
    }


def endpoint(address: str, pod: str = "", **conditions: bool | None) -> dict[str, Any]:
    target = {"targetRef": {"kind": "Pod", "name": pod, "uid": f"uid-{pod}"}} if pod else {}
    return {"addresses": [address, "10.9.9.9"], "conditions": conditions} | target


def behind(*slices: dict[str, Any], services: tuple[str, ...] = ("a", "b"), pods: tuple[Pod, ...] = ()) -> Any:
    return endpoint_members(TRITON, set(services), [e for one in slices for e in read_endpoints(one)], pods)


def test_a_ready_pod_is_a_ready_server_with_the_times_of_its_start() -> None:
    (member,) = pod_members(SPEC, [read_pod(pod())])
    assert (member.server.name, member.workload, member.phase) == ("llama/llama-0", "llama", Phase.READY)
    assert (member.server.http, member.server.metrics) == ("http://10.0.0.7:8000", "http://10.0.0.7:8000/metrics")
    assert (member.created_at, member.ready_at) == (CREATED, CREATED + 90)
    assert (member.server.grpc, member.pod_uid, member.server.kind) == ("", "uid-llama-0", ServerKind.VLLM)


def test_a_pod_that_is_not_ready_is_starting_and_was_not_ready_at_any_time() -> None:
    for thing in (
        pod(ready="False"),
        pod(ready="Unknown"),
        pod(status={"conditions": None}),
        pod(status={"conditions": []}),
    ):
        (member,) = pod_members(SPEC, [read_pod(thing)])
        assert (member.phase, member.ready_at) == (Phase.STARTING, None)


def test_a_deleted_pod_is_terminating_while_it_still_answers() -> None:
    (member,) = pod_members(SPEC, [read_pod(pod(meta={"deletionTimestamp": "2026-11-22T10:00:00Z"}))])
    assert (member.phase, member.ready_at) == (Phase.TERMINATING, CREATED + 90)


def test_a_pod_that_was_taken_out_of_traffic_drains_ready_or_not_until_it_is_deleted() -> None:
    drain = Drain("controlplane/traffic", "on", 60.0, 10.0)

    def phase(label: str, **more: Any) -> Phase:
        meta = {"labels": {"controlplane/traffic": label}, **more.pop("meta", {})}
        return read_pod(pod(meta=meta, **more), drain).phase

    assert (phase("off"), phase("off", ready="False")) == (Phase.DRAINING, Phase.DRAINING)
    assert phase("off", meta={"deletionTimestamp": "2026-11-22T10:00:00Z"}) is Phase.TERMINATING
    assert (phase("on"), phase("debug"), phase("on", ready="False")) == (Phase.READY, Phase.READY, Phase.STARTING)
    assert read_pod(pod(meta={"labels": {"controlplane/traffic": "off"}})).phase is Phase.READY, "nobody drains it"
    assert read_pod(pod(), drain).phase is Phase.READY
    (member,) = pod_members(SPEC, [read_pod(pod(meta={"labels": {"controlplane/traffic": "off"}}), drain)])
    assert member.ready_at == CREATED + 90


def test_a_pod_tells_itself_by_which_label_it_was_taken_out_of_traffic() -> None:
    def phase(label: str, note: str) -> Phase:
        meta = {"labels": {"controlplane/traffic": label}, "annotations": {TAKEN_FROM: note}}
        return read_pod(pod(meta=meta)).phase

    assert phase("off", "controlplane/traffic=on") is Phase.DRAINING
    assert phase("debug", "controlplane/traffic=on") is Phase.READY, "somebody has it since"
    assert [phase("off", note) for note in ("", "other=on", "controlplane/traffic")] == [Phase.READY] * 3


def test_pods_that_ended_or_have_no_address_yet_are_no_members() -> None:
    things = [
        pod("failed", status={"phase": "Failed"}),
        pod("done", status={"phase": "Succeeded"}),
        pod("pending", status={"podIP": None, "phase": "Pending"}),
        {"metadata": {"name": "new", "uid": "u"}},
    ]
    assert pod_members(SPEC, [read_pod(thing) for thing in things]) == ()


def test_members_are_in_the_order_of_their_names() -> None:
    pods = [read_pod(pod(name)) for name in ("c", "a", "b")]
    assert [m.server.name for m in pod_members(SPEC, pods)] == ["llama/a", "llama/b", "llama/c"]


def test_an_ipv6_address_stands_in_brackets() -> None:
    (member,) = pod_members(TRITON, [read_pod(pod(ip="fd00::7"))])
    assert member.server.http == "http://[fd00::7]:8000"
    assert member.server.grpc == "[fd00::7]:8001"
    assert member.server.metrics == "http://[fd00::7]:8002/m"


def test_an_endpoint_is_ready_when_it_serves() -> None:
    cases: list[tuple[dict[str, bool | None], Phase]] = [
        ({"ready": True, "serving": True, "terminating": False}, Phase.READY),
        ({"ready": False, "serving": False}, Phase.STARTING),
        ({"ready": True, "serving": False}, Phase.STARTING),  # publishNotReadyAddresses
        ({"ready": False, "serving": True, "terminating": True}, Phase.TERMINATING),
        ({"ready": None}, Phase.READY),
        ({"ready": False}, Phase.STARTING),
        ({}, Phase.READY),
    ]
    for conditions, phase in cases:
        (member,) = behind(slice_of("a", endpoint("10.0.0.7", "p", **conditions)))
        assert member.phase is phase, conditions


def test_a_pod_behind_two_services_and_with_two_addresses_is_one_member() -> None:
    (member,) = behind(
        slice_of("b", endpoint("fd00::7", "p", ready=True)),
        slice_of("a", endpoint("10.0.0.7", "p", serving=False)),
        slice_of("b", endpoint("10.0.0.7", "p", ready=True)),
    )
    assert (member.server.name, member.server.http) == ("bert/p", "http://10.0.0.7:8000")
    assert (member.phase, member.pod_uid) == (Phase.READY, "uid-p")


def test_a_pod_that_ends_at_one_service_is_terminating() -> None:
    (member,) = behind(
        slice_of("a", endpoint("10.0.0.7", "p", terminating=True)), slice_of("b", endpoint("10.0.0.7", "p"))
    )
    assert member.phase is Phase.TERMINATING


def test_endpoints_of_other_services_are_not_members() -> None:
    assert behind(slice_of("other", endpoint("10.0.0.7", "p"))) == ()
    assert behind({"metadata": {"name": "x"}, "endpoints": [endpoint("10.0.0.7")]}) == ()
    assert behind({"metadata": {"name": "x"}, "endpoints": None}) == ()


def test_an_endpoint_without_a_pod_is_known_by_its_address() -> None:
    (member,) = behind(slice_of("a", endpoint("192.0.2.4", ready=True)))
    assert (member.server.name, member.pod_uid, member.created_at) == ("bert/192.0.2.4", "", None)


def test_an_endpoint_takes_its_start_times_and_address_from_its_pod() -> None:
    pods = (read_pod(pod("p", ip="10.0.0.7")), read_pod(pod("q", ip="10.0.0.8")))
    (member,) = behind(slice_of("a", endpoint("fd00::7", "p", ready=True)), pods=pods)
    assert (member.created_at, member.ready_at) == (CREATED, CREATED + 90)
    assert member.server.http == "http://10.0.0.7:8000"


def test_an_endpoint_of_a_pod_that_is_going_or_gone_follows_the_pod() -> None:
    going = read_pod(pod("p", meta={"deletionTimestamp": "2026-11-22T10:00:00Z"}))
    (member,) = behind(slice_of("a", endpoint("10.0.0.7", "p", ready=True)), pods=(going,))
    assert member.phase is Phase.TERMINATING
    ended = read_pod(pod("p", status={"phase": "Failed"}))
    assert behind(slice_of("a", endpoint("10.0.0.7", "p", ready=True)), pods=(ended,)) == ()


def test_a_port_of_zero_is_no_address() -> None:
    bare = WorkloadSpec("w", ServerKind.VLLM, KubernetesQuery("ml", pods="a"), Ports(0, 0, 0))
    (member,) = pod_members(bare, [read_pod(pod())])
    assert (member.server.http, member.server.grpc, member.server.metrics) == ("", "", "")


def waiting(name: str, reason: str = "Unschedulable", message: str | None = "no gpu", **more: Any) -> Pod:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return read_pod(
        pod(name, ip="", status={"phase": "Pending", "conditions": [condition]} | more.pop("status", {}), **more)
    )


def test_a_pod_that_no_node_takes_is_told_with_what_the_scheduler_says() -> None:
    assert unscheduled([waiting("b"), read_pod(pod("c")), waiting("a", message=None)]) == (
        Unscheduled("a", "unschedulable"),
        Unscheduled("b", "no gpu"),
    )


def test_one_that_waits_for_a_gate_that_goes_or_that_has_ended_lacks_no_node() -> None:
    gated = waiting("a", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
    going = waiting("b", meta={"deletionTimestamp": "2026-11-22T10:00:00Z"})
    ended = waiting("c", status={"phase": "Failed"})
    assert unscheduled([gated, going, ended]) == ()
