"""One real TorchServe with handlers of the tests' own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.demo import rig_guard
from controlplane.demo.rig import free_ports
from tests.torchserve import setup

_START_TIMEOUT_S = 60.0
_CONFIG = """
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc_inference}
grpc_management_port={grpc_management}
metrics_mode=prometheus
disable_token_authorization=true
default_workers_per_model=1
disable_system_metrics=true
"""


class TorchServeRig:
    """A TorchServe that serves `handlers`, the source of a handler by model; a context manager that starts it.

    It keeps its ports over `restart`. When this process dies the server goes with it.
    """

    def __init__(self, handlers: dict[str, str]) -> None:
        # A short path: the workers' sockets lie in it, and such a path has 107 characters at most.
        self._home = Path(tempfile.mkdtemp(prefix="ts-"))
        self._models = tuple(handlers)
        http, others = free_ports(), free_ports()
        self._management = others.http
        self.inference = f"http://127.0.0.1:{http.http}"
        self.metrics = f"http://127.0.0.1:{http.metrics}/metrics"
        self._process: subprocess.Popen[bytes] | None = None
        for model, source in handlers.items():
            folder = self._home / "store" / model
            (folder / "MAR-INF").mkdir(parents=True)
            (folder / "handler.py").write_text(source)
            manifest = {"modelName": model, "handler": "handler.py:handle", "modelVersion": "1.0"}
            (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": manifest}))
        config = _CONFIG.format(
            inference=http.http,
            management=self._management,
            metrics=http.metrics,
            grpc_inference=http.grpc,
            grpc_management=others.grpc,
        )
        (self._home / "config.properties").write_text(
            f"{config}load_models={','.join(handlers)}\ninitial_worker_port={others.metrics}\n"
        )

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def restart(self) -> None:
        """Kill it and start it again."""
        self._kill()
        self._start()

    def predict(self, model: str) -> int:
        """Send one request; gives the status of the answer."""
        request = urllib.request.Request(f"{self.inference}/predictions/{model}", data=b"x")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def _start(self) -> None:
        site = setup.packages()
        java = ["java", "-Xmx256m", f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={self._home}"]
        server = ["-cp", f".:{site}/ts/frontend/*", "org.pytorch.serve.ModelServer", "--python", str(setup.python())]
        options = ["-f", "config.properties", "-s", "store", "-ncs"]
        guard = [sys.executable, "-I", "-S", str(rig_guard.__file__), str(os.getpid()), "0", self._home.name]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "TS_"))}
        environ |= {"LOG_LOCATION": str(self._home / "logs"), "METRICS_LOCATION": str(self._home / "logs")}
        environ["PATH"] = os.pathsep.join([str(setup.python().parent), environ.get("PATH", os.defpath)])
        with (self._home / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *java, *server, *options], cwd=self._home, env=environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(self._has_worker(model) for model in self._models):
            if time.monotonic() > deadline or self._process.poll() is not None:
                log_end = (self._home / "out.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"TorchServe did not start within {_START_TIMEOUT_S:g} s:\n{log_end}")
            time.sleep(0.1)

    def _has_worker(self, model: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._management}/models/{model}", timeout=2) as answer:
                told: Any = json.load(answer)
        except OSError:
            return False
        return any(worker["status"] == "READY" for worker in told[0]["workers"])

    def _kill(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
