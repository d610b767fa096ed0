"""Which server a process on a GPU belongs to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.fleet import Fleet, Member, Phase, ServerKind, ServerSpec
from controlplane.domain.gpu import GpuProcess
from controlplane.domain.processes import NO_POD, NO_PORT, ProcessServers
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.sources import AgentSpec
from tests.unit.agent.readings import AT, POD


def server(name: str, host: str, port: int = 8000) -> ServerSpec:
    return ServerSpec(
        name,
        ServerKind.TRITON,
        f"http://{host}:{port}",
        f"http://{host}:{port + 2}/metrics",
        f"{host}:{port + 1}",
    )


FLEET = Fleet(
    servers=(server("here", "127.0.0.1"), server("here-2", "localhost", 9000), server("far", "GPU-node-1")),
    models=(),
    agents=(
        AgentSpec("node-1", "http://gpu-node-1:8901/metrics"),
        AgentSpec("node-2", "http://gpu-node-2.:8901/metrics"),
        AgentSpec("mine", "http://[::1]:8901/metrics"),
    ),
)
NOWHERE: Signal[str] = Known("", AT)


def server_of(process: GpuProcess, node: str, fleet: Fleet) -> Signal[str]:
    return ProcessServers(fleet).server_of(process, node)


def process(*ports: int, pod: Signal[str] = NOWHERE) -> GpuProcess:
    return GpuProcess(7, Known(1, AT), "", Known(ports, AT), pod)


@pytest.mark.parametrize("port", [8000, 8001, 8002])
def test_a_process_is_of_the_server_on_one_of_its_ports(port: int) -> None:
    assert server_of(process(22, port), "", FLEET) == Known("here", AT)


@pytest.mark.parametrize(("node", "name"), [("", "here"), ("mine", "here"), ("node-1", "far")])
def test_the_same_port_is_another_server_on_another_machine(node: str, name: str) -> None:
    assert server_of(process(8000), node, FLEET) == Known(name, AT)


def test_no_server_of_another_machine_is_taken() -> None:
    assert server_of(process(8000), "node-2", FLEET) == Missing(NO_PORT)
    assert server_of(process(8000), "forgotten", FLEET) == Missing(NO_PORT)


def test_the_nearest_listening_process_counts() -> None:
    assert server_of(process(9000, 8000), "", FLEET) == Known("here-2", AT)
    assert server_of(process(8000, 9000), "", FLEET) == Known("here", AT)


def test_a_url_without_a_port_has_that_of_its_scheme() -> None:
    plain = ServerSpec("plain", ServerKind.VLLM, "http://localhost", "https://localhost/metrics")
    fleet = replace(FLEET, servers=(plain,))
    assert server_of(process(80), "", fleet) == server_of(process(443), "", fleet) == Known("plain", AT)


def test_a_process_in_a_pod_is_of_the_discovered_server_in_that_pod() -> None:
    found = server("pod-1", "10.0.0.7")
    fleet = FLEET.with_members([Member(found, "triton", Phase.READY, pod_uid=POD)])
    assert server_of(process(pod=Known(POD, AT)), "node-1", fleet) == Known("pod-1", AT)
    denied = GpuProcess(7, Known(1, AT), "", Missing("denied"), Known(POD, AT))
    assert server_of(denied, "node-1", fleet) == Known("pod-1", AT)
    assert server_of(process(pod=Known("another", AT)), "node-1", fleet) == Missing(NO_POD)
    assert server_of(process(8000, pod=Known("another", AT)), "node-1", fleet) == Known("far", AT)


def test_a_server_without_a_pod_is_not_that_of_a_process_without_one() -> None:
    fleet = FLEET.with_members([Member(server("target", "10.0.0.8"), "triton", Phase.READY)])
    assert server_of(process(), "node-1", fleet) == Missing(NO_PORT)


def test_what_hides_the_server_is_told() -> None:
    hidden = GpuProcess(7, Known(1, AT), "", Missing("denied"), NOWHERE)
    assert server_of(hidden, "", FLEET) == Missing("denied")
    assert server_of(process(1234), "", FLEET) == Missing(NO_PORT)
