"""What tells the server of a process, of real processes and by a /proc of our own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controlplane.collect.gpu.processes import DENIED, GONE, HANGS, Processes, pod_uid_of
from controlplane.domain.gpu import GpuProcess
from controlplane.domain.signal import Known, Missing
from tests.unit.agent.readings import AT, POD, WHOLE

LISTEN = "s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True)"
WAIT = "sys.stdin.readline()"
CHILD = f"import socket,sys; {LISTEN}; {WAIT}"
IDLE = f"import sys; print(0,flush=True); {WAIT}"
"""Processes that print their port and wait for a line or the end of their input."""


def parent(child: str) -> str:
    """A process that listens and starts another below it, telling both ports and the pid of that one."""
    return (
        f"import json,socket,subprocess,sys; {LISTEN}; "
        f"c=subprocess.Popen([sys.executable,'-c',{child!r}],stdout=subprocess.PIPE,text=True); "
        "print(json.dumps([c.pid,int(c.stdout.readline())]),flush=True); c.wait()"
    )


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:

        def run(code: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait, 10)
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                stack.callback(pipe.close)
            return process

        yield run


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


async def seen(processes: Processes, pid: int, at: float = AT, timeout_s: float = 10) -> GpuProcess:
    gpu = replace(WHOLE, processes=Known((GpuProcess(pid, Known(1, at)),), at))
    gpus = await processes.described(Known((gpu,), at), timeout_s)
    assert isinstance(gpus, Known)
    assert isinstance(gpus.value[0].processes, Known)
    (process,) = gpus.value[0].processes.value
    return process


async def test_a_child_is_known_by_the_port_of_the_process_above_it(
    processes: Processes, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    above = start(parent(IDLE))
    port = int(line_of(above))
    pid, _ = json.loads(line_of(above))
    process = await seen(processes, pid)
    assert isinstance(process.ports, Known)
    assert process.ports.value[0] == port
    assert process.pod_uid == Known("", AT) or os.environ.get("KUBERNETES_SERVICE_HOST")


async def test_its_own_ports_come_before_those_above_it(
    processes: Processes, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    above = start(parent(CHILD))
    port = int(line_of(above))
    pid, own = json.loads(line_of(above))
    process = await seen(processes, pid)
    assert isinstance(process.ports, Known)
    assert process.ports.value[:2] == (own, port)


async def test_a_process_that_is_gone_says_so(processes: Processes) -> None:
    process = await seen(processes, 4194401)
    assert (process.ports, process.pod_uid) == (Missing(GONE), Missing(GONE))


async def test_a_process_that_begins_to_listen_is_noticed_after_a_while(
    processes: Processes, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    late = start(f"import socket,sys; print(0,flush=True); {WAIT}; {LISTEN}; {WAIT}")
    line_of(late)
    before = (await seen(processes, late.pid)).ports  # missing where one above it is of a user nobody may look at
    assert late.stdin is not None
    late.stdin.write("\n")
    late.stdin.flush()
    port = int(line_of(late))
    assert (await seen(processes, late.pid, AT + 5)).ports == before
    after = (await seen(processes, late.pid, AT + 35)).ports
    assert isinstance(after, Known)
    assert after.value[0] == port


def test_sockets_of_others_are_missing_to_those_who_may_not_see_them(tmp_path: Path) -> None:
    """As another user, where this one may change to it; else what belongs to the first process of the machine."""
    code = (
        "import asyncio,os,sys; sys.path[:0]=eval(sys.argv[2])\n"
        "from controlplane.collect.gpu.processes import Processes\n"
        "from tests.integration.test_collect_processes import seen\n"
        "if os.geteuid()==0: os.setgid(65534); os.setuid(65534)\n"
        "print(asyncio.run(seen(Processes(), int(sys.argv[1]))).ports)"
    )
    pid = os.getpid() if os.geteuid() == 0 else 1
    told = subprocess.run(
        [sys.executable, "-c", code, str(pid), repr(sys.path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == f"{Missing(DENIED)}\n"


async def test_a_proc_that_hangs_costs_its_deadline_and_leaves_the_figures(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    (tmp_path / "7").mkdir()
    os.mkfifo(tmp_path / "7" / "cgroup")  # reading it blocks until somebody writes
    first, second = [await seen(processes, 7, timeout_s=0.2) for _ in range(2)]
    assert first.memory_used_bytes == Known(1, AT)
    assert first.ports == first.pod_uid == second.ports == second.pod_uid == Missing(HANGS)
    assert sum(thread.name == "controlplane-processes" for thread in threading.enumerate()) == 1
    (tmp_path / "7" / "cgroup").write_text("0::/\n")
    async with asyncio.timeout(10):
        while (again := await seen(processes, 7)).pod_uid != Known("", AT):
            assert again.pod_uid == Missing(HANGS)


async def test_a_proc_that_cannot_be_read_leaves_the_figures(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    (tmp_path / "7" / "cgroup").mkdir(parents=True)
    process = await seen(processes, 7)
    assert process.memory_used_bytes == Known(1, AT)
    assert isinstance(process.pod_uid, Missing)
    assert process.pod_uid.why.startswith("/proc: ")
    assert isinstance(process.ports, Missing)


async def test_the_ports_of_a_pod_with_a_network_of_its_own_are_not_those_of_the_machine(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    for pid in ("self", "7"):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "net").touch()
    (tmp_path / "7" / "cgroup").write_text(f"0::/kubepods/besteffort/pod{POD}/0123456789abcdef\n")
    process = await seen(processes, 7)
    assert (process.ports, process.pod_uid) == (Known((), AT), Known(POD, AT))


@pytest.mark.parametrize(
    ("cgroup", "uid"),
    [
        (f"0::/kubepods/burstable/pod{POD}/9f2c\n", POD),
        (f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-9f2c.scope\n", POD),
        (
            f"0::/../../kubepods-besteffort.slice/kubepods-besteffort-pod{POD.replace('-', '_')}.slice/crio-9.scope\n",
            POD,
        ),
        (f"12:memory:/kubepods/pod{POD}/9f2c\n11:cpu:/kubepods/pod{POD}/9f2c\n", POD),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", ""),
        ("0::/system.slice/docker-9f2c.scope\n", ""),
        ("0::/machine.slice/libpod-0e3f6c1a.scope\n", ""),
        ("", ""),
    ],
)
def test_the_pod_stands_in_the_path_of_the_cgroup(cgroup: str, uid: str) -> None:
    assert pod_uid_of(cgroup) == uid
