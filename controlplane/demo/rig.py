"""A real Triton as a process of this machine: started on free ports, watched, stopped without leftovers."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from controlplane.demo import rig_guard
from controlplane.demo.rig_errors import RigError
from controlplane.demo.rig_setup import RigEnvironment, ensure_environment, server_environ

Mode = Literal["explicit", "none", "poll"]

_HOST = "127.0.0.1"
_SHM_BYTES = 1024 * 1024  # per instance; the backend's default would do, but is only known from its source


@dataclass(frozen=True, slots=True)
class Ports:
    """The three ports of one Triton."""

    http: int
    grpc: int
    metrics: int


class TritonRig:
    """One tritonserver over a model repository.

    Use it as a context manager, or call `start` and `stop`. It keeps its ports over `stop`, `kill` and `restart`, so
    that clients see the same server come back. When this process dies the server goes with it (see rig_guard).
    All methods block; from asyncio call them through `asyncio.to_thread`.
    """

    def __init__(
        self,
        repository: Path,
        *,
        mode: Mode = "explicit",
        load: Sequence[str] = (),
        ports: Ports | None = None,
        extra_args: Sequence[str] = (),
        log_path: Path | None = None,
        environment: RigEnvironment | None = None,
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
    ) -> None:
        """Does not start anything yet.

        `load`: models loaded at the start (explicit mode only). `ports` fixed, else free ones are found. `log_path` is
        appended to, else a temporary file is made. `extra_args` go to tritonserver last and so win.
        """
        self.repository = repository
        self.mode = mode
        self._load = tuple(load)
        self._ports = ports
        self._ports_fixed = ports is not None
        self._extra_args = tuple(extra_args)
        self._environment = environment
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._shm_prefix = f"cprig{os.getpid()}_{secrets.token_hex(3)}"
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if log_path is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="triton-rig-")
            log_path = Path(self._temporary.name) / "triton.log"
        self.log_path = log_path
        self._log_mark = 0
        self._guard: subprocess.Popen[str] | None = None
        self._server_pid: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ports(self) -> Ports:
        """The ports; RigError before the first start when none were given."""
        if self._ports is None:
            raise RigError("the rig has no ports before its first start")
        return self._ports

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP endpoint."""
        return f"http://{_HOST}:{self.ports.http}"

    @property
    def grpc_url(self) -> str:
        """host:port of the gRPC endpoint."""
        return f"{_HOST}:{self.ports.grpc}"

    @property
    def metrics_url(self) -> str:
        """The metrics page."""
        return f"http://{_HOST}:{self.ports.metrics}/metrics"

    @property
    def server_pid(self) -> int:
        """Process id of tritonserver; RigError when it does not run."""
        if self._server_pid is None or not self.running:
            raise RigError("the rig's tritonserver does not run")
        return self._server_pid

    @property
    def shm_prefix(self) -> str:
        """What the names of this rig's shared memory regions in /dev/shm begin with."""
        return self._shm_prefix

    @property
    def running(self) -> bool:
        """True while the server process lives."""
        return self._guard is not None and self._guard.poll() is None

    def log_text(self) -> str:
        """All that the server has logged since the rig was made, over restarts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Starts the server and returns when it is live (about a second); nothing if it runs already.

        Raises RigError, with the end of the log, when it ends or is not live within the start timeout, and
        RigUnavailableError where the platform cannot run it.
        """
        if self.running:
            return
        environment = self._environment or ensure_environment()
        for attempt in range(3):
            if not self._ports_fixed:
                self._ports = free_ports()
            self._log_mark = len(self.log_text())
            self._spawn(environment)
            try:
                self._wait_live()
            except BaseException as error:
                self.stop()
                taken = "Address already in use" in self.log_text()[self._log_mark :] or "already in use" in str(error)
                if isinstance(error, RigError) and taken and not self._ports_fixed and attempt < 2:
                    continue  # another process took one of the free ports in between
                raise
            self._ports_fixed = True
            return

    def stop(self) -> None:
        """Ends the server: SIGTERM, then SIGKILL after the stop timeout. No process and no shared memory stays."""
        guard = self._guard
        if guard is None:
            return
        with contextlib.suppress(ProcessLookupError):
            guard.terminate()
        self._reap(guard, self._stop_timeout_s + 5)

    def kill(self) -> None:
        """Ends the server with SIGKILL, as a crash would. Returns when it is gone."""
        guard = self._guard
        if guard is None or self._server_pid is None:
            return
        if guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server_pid, signal.SIGKILL)
        self._reap(guard, 5)

    def restart(self) -> None:
        """Stops and starts on the same ports. Overridden configurations and explicit loads are lost, as ever."""
        self.stop()
        self.start()

    def stub_pids(self, model: str) -> list[int]:
        """Process ids of the model's python stubs, one per instance, in the order of their start."""
        server = self.server_pid
        wanted = f"/{model}/"
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if parent == server and "triton_python_backend_stub" in command[0] and wanted in command[1]:
                    found.append(int(entry.name))
        return sorted(found)

    def _spawn(self, environment: RigEnvironment) -> None:
        guard = [sys.executable, "-I", "-S", rig_guard.__file__]
        arguments = [str(os.getpid()), str(self._stop_timeout_s), self._shm_prefix, *self._command(environment)]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [*guard, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=server_environ(environment),
                start_new_session=True,
                text=True,
            )
        stdout = self._guard.stdout
        if stdout is None:
            raise AssertionError
        with stdout:
            line = stdout.readline()
        if not line.strip().isdigit():
            self._reap(self._guard, 5)
            raise RigError(f"tritonserver was not started:\n{self._log_end()}")
        self._server_pid = int(line)

    def _command(self, environment: RigEnvironment) -> list[str]:
        ports = self.ports
        shm = f"{_SHM_BYTES}"
        return [
            str(environment.server),
            f"--model-repository={self.repository}",
            f"--model-control-mode={self.mode}",
            *(["--repository-poll-secs=1"] if self.mode == "poll" else []),
            *(f"--load-model={name}" for name in self._load),
            f"--backend-directory={environment.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            f"--backend-config=python,shm-default-byte-size={shm}",
            f"--backend-config=python,shm-growth-byte-size={shm}",
            f"--http-address={_HOST}",
            f"--http-port={ports.http}",
            f"--grpc-address={_HOST}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-address={_HOST}",
            f"--metrics-port={ports.metrics}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            f"--exit-timeout-secs={max(1, int(self._stop_timeout_s))}",
            *self._extra_args,
        ]

    def _wait_live(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not (_answers(f"{self.http_url}/v2/health/live") and _answers(self.metrics_url)):
            if not self.running:
                raise RigError(f"tritonserver ended before it was live:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise RigError(f"tritonserver was not live within {self._start_timeout_s:g} s:\n{self._log_end()}")
            time.sleep(0.05)

    def _reap(self, guard: subprocess.Popen[str], timeout_s: float) -> None:
        try:
            guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        if guard.returncode < 0 and self._server_pid is not None:  # the guard was killed before it could tidy up
            rig_guard.remove_leftovers(self._server_pid, self._shm_prefix)
        self._guard = None
        self._server_pid = None

    def _log_end(self) -> str:
        """What this start logged that tells why it failed: its error lines, else its last lines, without tables."""
        lines = [line for line in self.log_text()[self._log_mark :].splitlines() if line[:1] not in {"|", "+", ""}]
        errors = [line for line in lines if re.match(r"E\d{4} |error:|.*\bunrecognized option\b", line)]
        return "\n".join(errors[:15] or lines[-15:])


def free_ports() -> Ports:
    """Three ports that nothing listens on.

    They lie below the range from which the system takes ports for outgoing connections, so that a stopped server's
    ports are still free when it comes back.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first = 32768
    pool = range(10_000, first) if first > 12_000 else range(10_000, 60_000)
    found: list[int] = []
    for _ in range(1000):
        port = random.choice(pool)
        if port not in found and _bindable(port):
            found.append(port)
        if len(found) == 3:
            return Ports(*found)
    raise RigError(f"no three free ports between {pool.start} and {pool.stop}")


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own http address)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
