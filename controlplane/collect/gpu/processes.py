"""What tells the server of a GPU process: the ports it listens on and its pod, from /proc by psutil.

A Triton python stub or a vLLM worker listens on nothing itself: what it belongs to is a process above it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from controlplane.collect.gpu.gpus import Gpus
from controlplane.collect.worker import Worker
from controlplane.domain.gpu import GpuProcess, GpuReading
from controlplane.domain.signal import Known, Missing, Signal, known

GONE = "no such process on this machine"
DENIED = "not allowed to see the sockets of the process or of those above it"
HANGS = "/proc does not answer in time"
_AGAIN_S = 30.0
"""A process is looked at again after so long: it may begin to listen."""
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
"""In a cgroup's path: with `-` by the cgroupfs driver of the kubelet, with `_` by the systemd driver."""


@dataclass(frozen=True, slots=True)
class _Origin:
    at: float
    ports: Signal[tuple[int, ...]]
    pod_uid: Signal[str]


class Processes:
    """Looks at processes on one thread for good: where /proc hangs all of it is missing until it answers."""

    def __init__(self) -> None:
        self._worker = Worker("controlplane-processes")
        self._seen: Mapping[int, _Origin] = {}

    async def described(self, gpus: Gpus, timeout_s: float) -> Gpus:
        """The same GPUs with the ports and the pod of each process, as far as they are told within `timeout_s`."""
        if not isinstance(gpus, Known):
            return gpus
        found = [process.pid for gpu in gpus.value for process in known(gpu.processes) or ()]
        if not found:
            return gpus
        try:
            origins = await self._worker.call(lambda: self._look(found, gpus.observed_at), timeout_s)
        except TimeoutError:
            origins = dict.fromkeys(found, _Origin(gpus.observed_at, Missing(HANGS), Missing(HANGS)))
        return Known(tuple(_with_origins(gpu, origins) for gpu in gpus.value), gpus.observed_at)

    def close(self) -> None:
        """Let the thread end."""
        self._worker.close()

    def _look(self, pids: Collection[int], at: float) -> Mapping[int, _Origin]:
        origins = {pid: seen for pid, seen in self._seen.items() if pid in pids and abs(at - seen.at) < _AGAIN_S}
        sockets: dict[int, tuple[int, ...] | None] = {}
        for pid in pids:
            if pid not in origins:
                pod = _pod_uid(pid, at)
                origins[pid] = _Origin(at, _ports(pid, at, sockets, in_pod=known(pod) != ""), pod)
        self._seen = origins
        return origins


def _with_origins(gpu: GpuReading, origins: Mapping[int, _Origin]) -> GpuReading:
    def described(process: GpuProcess) -> GpuProcess:
        origin = origins[process.pid]
        return replace(process, ports=origin.ports, pod_uid=origin.pod_uid)

    if not isinstance(gpu.processes, Known):
        return gpu
    return replace(gpu, processes=replace(gpu.processes, value=tuple(map(described, gpu.processes.value))))


def _pod_uid(pid: int, at: float) -> Signal[str]:
    try:
        return Known(pod_uid_of(_proc(pid, "cgroup").read_text(encoding="utf-8", errors="replace")), at)
    except OSError as error:
        return Missing(_why(error))


def _ports(pid: int, at: float, sockets: dict[int, tuple[int, ...] | None], *, in_pod: bool) -> Signal[tuple[int, ...]]:
    """`sockets` holds what was found in this round already, by process."""
    try:
        if in_pod and not _proc(pid, "ns/net").samefile(_proc("self", "ns/net")):
            return Known((), at)  # those are ports of the pod, not of this machine
        process = psutil.Process(pid)
        above = [process, *process.parents()]
    except (OSError, psutil.Error) as error:
        return Missing(_why(error))
    for one in above:
        if one.pid not in sockets:
            sockets[one.pid] = _listening(one)
    found = tuple(dict.fromkeys(port for one in above for port in sockets[one.pid] or ()))
    unseen = not found and any(sockets[one.pid] is None for one in above)
    return Missing(DENIED) if unseen else Known(found, at)


def _listening(process: psutil.Process) -> tuple[int, ...] | None:
    """Its TCP ports, ascending; None: not allowed to see them."""
    with suppress(psutil.NoSuchProcess):
        try:
            sockets = process.net_connections(kind="tcp")
        except (OSError, psutil.AccessDenied):
            return None
        return tuple(sorted({socket.laddr.port for socket in sockets if socket.status == psutil.CONN_LISTEN}))
    return ()


def pod_uid_of(cgroup: str) -> str:
    """The pod in the text of a process's cgroup file, empty when it is in none.

    Paths: https://kubernetes.io/docs/concepts/architecture/cgroups/ and the kubelet's cgroup_manager_linux.go.
    """
    found = _POD.search(cgroup)
    return found[1].replace("_", "-") if found else ""


def _why(error: OSError | psutil.Error) -> str:
    match error:
        case psutil.NoSuchProcess() | FileNotFoundError() | ProcessLookupError():
            return GONE
        case psutil.AccessDenied() | PermissionError():
            return DENIED
        case _:
            return f"/proc: {error}"


def _proc(pid: int | str, name: str) -> Path:
    return Path(psutil.PROCFS_PATH, str(pid), name)
