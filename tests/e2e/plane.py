"""`controlplane run` as a process, started as a user would, and its API as a client sees it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")
COMMAND = [sys.executable, "-c", "from controlplane.cli.entry import main; main()"]
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 1, 24, 1


def until(what: str, condition: Callable[[], T | None], timeout_s: float = 60.0, told: Callable[[], object] = str) -> T:
    """The first true value of `condition`, asked ten times a second; an assertion naming `what` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{told()}"
        time.sleep(0.1)
    return value


class Plane:
    """A control plane with its configuration, store and log in one folder; it may be started again and again."""

    def __init__(self, folder: Path, tree: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = folder / "history.db"
        self.config = folder / "controlplane.yaml"
        self.url = ""
        self._log = folder / "log"
        self._process: subprocess.Popen[str] | None = None
        self.configure(tree)

    def configure(self, tree: Mapping[str, Any]) -> None:
        """Writes the configuration for the next start."""
        self.config.write_text(yaml.safe_dump({"store": f"sqlite:///{self.store}", **tree}), encoding="utf-8")

    def spawn(self, *options: str) -> subprocess.Popen[str]:
        """Starts the process and returns at once."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "run", "--config", str(self.config), *options],
                cwd=self.folder,
                env=_environ(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=_bound_to_parent,  # noqa: PLW1509 - system calls only, no lock is taken
            )
        return self._process

    def start(self, *options: str, ticked: bool = True) -> None:
        """Starts it and returns when its first tick is done; without `ticked` when its API listens."""
        stdout = self.spawn(*options).stdout
        assert stdout is not None
        line = stdout.readline()
        found = re.match(r"API (http://\S+)", line)
        assert found, f"{line!r}\n{self.log_text()}"
        self.url = found[1]
        if ticked:
            until("its first tick", lambda: self.get("fleet")["loop"]["ticks"] > 0, told=self.log_text)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def leads(self) -> bool:
        """Whether it says that it leads."""
        return bool(self.get("fleet")["loop"]["leading"])

    def stop(self) -> tuple[int, float]:
        """SIGTERM: exit code and seconds it took."""
        began = time.monotonic()
        return self._end(signal.SIGTERM), time.monotonic() - began

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(60)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            self._process = None

    def log_text(self) -> str:
        """Everything it logged, over all its lives."""
        return self._log.read_text(encoding="utf-8")

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Log lines as values; those with an event of that name."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [line for line in lines if name in ("", line["event"])]

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = 30.0) -> Any:
        """Status and JSON of an answer of the API below /api/v1."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str) -> Any:
        """The JSON at a path below /api/v1."""
        status, document = self.call("GET", path)
        assert status == 200, document
        return document

    def cli(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs another command of `controlplane` against it."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=_environ() | {"CONTROLPLANE_URL": self.url, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def unit(self, model: str) -> dict[str, Any]:
        """The model on its first server."""
        found: dict[str, Any] = self.get(f"models/{model}")["units"][0]
        return found

    def server(self) -> dict[str, Any]:
        """The first server."""
        found: dict[str, Any] = self.get("servers")[0]
        return found

    def instances(self, model: str) -> int | None:
        """The instance count if it is known."""
        signal = self.unit(model)["instances"]
        return signal["value"] if signal["state"] == "known" else None

    def decisions(self, model: str, *, changes_only: bool = False) -> list[dict[str, Any]]:
        """Decisions about a model, oldest first."""
        found: list[dict[str, Any]] = self.get(
            f"decisions?model={model}&limit=1000&changes_only={str(changes_only).lower()}"
        )
        return found[::-1]

    def bindings(self, model: str) -> list[str]:
        """What bound each of them, oldest first."""
        return [decision["binding"] for decision in self.decisions(model)]

    def until_ticked(self, times: int = 1) -> None:
        """Returns after so many more ticks."""
        ticks = self.get("fleet")["loop"]["ticks"]
        until(f"{times} ticks", lambda: self.get("fleet")["loop"]["ticks"] >= ticks + times)

    def until_unit(
        self, model: str, what: str, condition: Callable[[dict[str, Any]], object], timeout_s: float
    ) -> None:
        """Returns when the unit fulfils the condition; else fails with its last decisions."""
        until(
            f"{model} {what}",
            lambda: condition(self.unit(model)),
            timeout_s,
            lambda: json.dumps(
                [{k: d[k] for k in ("headline", "repeats", "outcomes")} for d in self.decisions(model)[-8:]], indent=1
            ),
        )

    def until_instances(self, model: str, count: int, timeout_s: float = 20.0) -> None:
        """Returns when the model is known to have so many instances (0: it is not loaded)."""
        self.until_unit(
            model,
            f"has {count} instances",
            lambda unit: unit["instances"]["state"] == "known" and unit["instances"]["value"] == count,
            timeout_s,
        )


def config(rig: Any, models: list[dict[str, Any]], **blocks: Any) -> dict[str, Any]:
    """A configuration for one Triton, with short intervals and dwells; `blocks` replace or add."""
    server = {"name": "triton-0", "kind": "triton"}
    addresses = {"http": rig.http_url, "grpc": rig.grpc_url, "metrics": rig.metrics_url}
    policy = {"scale_down_after": "4s", "back_off_min": "2s", "settle": "4s", **blocks.pop("policy", {})}
    return {
        "mode": "act",
        "scrape": {"interval": "1s", "timeout": "900ms"},
        "decide": {"interval": "1s"},
        "api": {"port": 0},
        "policy": policy,
        "servers": [server | addresses | blocks.pop("server", {})],
        "models": [{"runs_on": ["triton-0"], **model} for model in models],
        **blocks,
    }


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CONTROLPLANE_")}


def _bound_to_parent() -> None:
    """In the child: it ends with this process, and file modes hold for it even if it is root."""
    system = ctypes.CDLL(None)
    system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    system.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE)
