"""Which server a process on a GPU belongs to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from controlplane.domain.fleet import Fleet, ServerSpec
from controlplane.domain.gpu import GpuProcess
from controlplane.domain.signal import Known, Missing, Signal

NO_PORT = "neither it nor a process above it listens where a server of this machine is"
NO_POD = "its pod is none of the discovered servers"
_THIS_MACHINE = "localhost"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ProcessServers:
    """The servers of a fleet by what tells them: the pod, or the machine and a port."""

    def __init__(self, fleet: Fleet) -> None:
        self._by_pod = {member.pod_uid: name for name, member in fleet.members.items() if member.pod_uid}
        self._by_port = {place: server.name for server in reversed(fleet.servers) for place in _places(server)}
        self._hosts = {agent.name: _host(urlsplit(agent.url).hostname or "") for agent in fleet.agents}
        self._hosts[""] = _THIS_MACHINE

    def server_of(self, process: GpuProcess, node: str) -> Signal[str]:
        """The name of the server of a process that was seen on `node` (an agent's name; empty: this machine).

        A discovered server in the same pod, else one whose URL has the host of the agent's URL and a port on which the
        process, or the nearest one above it, listens.
        """
        pod, ports = process.pod_uid, process.ports
        if isinstance(pod, Known) and pod.value in self._by_pod:
            return Known(self._by_pod[pod.value], pod.observed_at)
        if isinstance(ports, Known):
            host = self._hosts.get(node)
            for port in ports.value:
                if (host, port) in self._by_port:
                    return Known(self._by_port[host, port], ports.observed_at)
        if isinstance(pod, Known) and pod.value:
            return Missing(NO_POD)
        return ports if isinstance(ports, Missing) else Missing(NO_PORT)


def _places(server: ServerSpec) -> Iterator[tuple[str | None, int]]:
    """Hosts and ports of the server's URLs."""
    for url in (server.http, server.metrics, f"grpc://{server.grpc}" if server.grpc else ""):
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname and port:
            yield _host(parts.hostname), port


def _host(name: str) -> str:
    """A host as it is compared: this machine has many names and addresses."""
    try:
        return _THIS_MACHINE if ipaddress.ip_address(name).is_loopback else name
    except ValueError:
        return name.lower().rstrip(".")
