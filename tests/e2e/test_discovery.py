"""Pods with real Tritons in them come and go under `controlplane run`, by an API server's word."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import send, write_model
from tests.kube.cluster import Cluster
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.e2e

MODEL = "sum"
REQUESTS = 25


def workload(name: str, rig: TritonRig, cluster: Cluster) -> dict[str, Any]:
    ports = {"http": rig.ports.http, "grpc": rig.ports.grpc, "metrics": rig.ports.metrics}
    asked = {"namespace": cluster.namespace, "pods": f"app={name}", "kubeconfig": str(cluster.kubeconfig)}
    return {"name": name, "kind": "triton", "kubernetes": asked, "ports": ports}


def phases(plane: Plane) -> dict[str, str]:
    return {server["name"]: server["phase"] for server in plane.get("servers")}


def loaded(plane: Plane) -> set[str]:
    """The servers on which the model is ready."""
    units = plane.get(f"models/{MODEL}")["units"]
    return {unit["server"] for unit in units if unit["state"]["value"] == "ready"}


@pytest.mark.triton
def test_pods_come_and_go_without_a_restart(triton_rig: RigFactory, new_plane: PlaneFactory, cluster: Cluster) -> None:
    blue, green = triton_rig([], start=False), triton_rig([], start=False)
    for rig in (blue, green):
        write_model(rig.repository, MODEL, start_s=0.1, execute_s=0.01)
        rig.start()
    tree = config(blue, [{"name": MODEL, "runs_on": ["blue", "green"], "objectives": [{"availability": "99%"}]}])
    del tree["servers"]
    tree["workloads"] = [workload("blue", blue, cluster), workload("green", green, cluster)]
    plane = new_plane(tree)
    plane.start()
    assert [w["members"]["value"]["ready"] for w in plane.get("workloads")] == [0, 0]

    cluster.pod("a", {"app": "blue"}, ip="127.0.0.1")
    until("the pod is found", lambda: phases(plane) == {"blue/a": "starting"})
    until("it is left alone", lambda: "server_phase" in plane.bindings(MODEL))
    assert loaded(plane) == set()
    ticks = plane.get("fleet")["loop"]["ticks"]
    cluster.ready("a")
    until("the model is loaded on it", lambda: loaded(plane) == {"blue/a"})
    steps = [d for d in plane.decisions(MODEL, changes_only=True) if d["server"] == "blue/a"]
    assert [d["step"] for d in steps] == ["load"]
    cluster.pod("b", {"app": "green"}, ip="127.0.0.1", ready=True)
    until("so it is on the second", lambda: loaded(plane) == {"blue/a", "green/b"})

    plane.until_ticked(2)
    send(blue, MODEL, REQUESTS)
    plane.until_ticked(2)
    cluster.delete("a")
    until("the first terminates", lambda: phases(plane).get("blue/a") == "terminating")
    cluster.gone("a")
    until("it is gone", lambda: phases(plane) == {"green/b": "ready"})
    blue.kill()
    events = until("what it did is counted", lambda: plane.get(f"models/{MODEL}")["objectives"][0]["events"], 40.0)
    assert events == REQUESTS
    assert loaded(plane) == {"green/b"}
    fleet = plane.get("fleet")
    assert fleet["loop"]["problem"] == ""
    assert fleet["loop"]["ticks"] > ticks
    moves = [(event["came"], event["left"]) for event in plane.events("servers came or left")]
    assert moves == [(["blue/a"], []), (["green/b"], []), ([], ["blue/a"])]
    assert "Traceback" not in plane.log_text()


def test_an_api_server_that_is_away_is_told_and_nothing_is_done(new_plane: PlaneFactory, cluster: Cluster) -> None:
    missing = {"namespace": cluster.namespace, "pods": "app=x", "kubeconfig": "/nowhere/kubeconfig"}
    plane = new_plane(
        {
            "scrape": {"interval": "1s", "timeout": "900ms"},
            "decide": {"interval": "1s"},
            "api": {"port": 0},
            "workloads": [{"name": "w", "kind": "triton", "kubernetes": missing}],
            "models": [{"name": MODEL, "runs_on": ["w"]}],
        }
    )
    plane.start()
    (workload,) = plane.get("workloads")
    assert workload["members"]["state"] == "missing"
    assert "configuration of Kubernetes" in workload["members"]["why"]
    told = plane.cli("status").stdout
    assert "w: servers missing" in told
    assert f"{MODEL}: workload w: servers missing" in told
    code, took_s = plane.stop()
    assert (code, took_s < 5) == (0, True), plane.log_text()
