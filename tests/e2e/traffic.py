"""Requests to a Triton, and a model whose instances take their time to start."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from controlplane.demo.rig import TritonRig
from tests.e2e.plane import until

INITIALIZED = "TRITONBACKEND_ModelInstanceInitialize: "

_CONFIG = """backend: "python"
max_batch_size: 4
input [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]
output [ { name: "SUM", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""
_MODEL = """
import os, time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        time.sleep(START_S)
        while os.path.exists(HOLD):
            time.sleep(0.02)

    def execute(self, requests):
        time.sleep(EXECUTE_S)
        return [pb.InferenceResponse([pb.Tensor("SUM", np.ones((1, 1), np.float32))]) for _ in requests]
"""


def write_model(
    repository: Path, name: str, *, start_s: float = 2.0, execute_s: float = 0.1, hold: Path | None = None
) -> None:
    """A model whose instances each take `start_s` to start and `execute_s` for a batch of up to 4.

    None starts while there is a file at `hold`.
    """
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(_CONFIG)
    source = _MODEL.replace("START_S", str(start_s)).replace("EXECUTE_S", str(execute_s))
    source = source.replace("HOLD", repr(str(hold or "")))
    (version / "model.py").write_text(source)
    (version / "__pycache__").touch()


def write_ensemble(repository: Path, name: str, *components: str) -> None:
    """An ensemble that gives each of its components the same input."""
    (repository / name / "1").mkdir(parents=True)
    steps = ", ".join(
        f'{{ model_name: "{part}" model_version: -1 input_map {{ key: "X" value: "X" }}'
        f' output_map {{ key: "SUM" value: "{part}" }} }}'
        for part in components
    )
    outputs = ", ".join(f'{{ name: "{part}", data_type: TYPE_FP32, dims: [ 1 ] }}' for part in components)
    (repository / name / "config.pbtxt").write_text(
        'platform: "ensemble"\nmax_batch_size: 4\ninput [ { name: "X", data_type: TYPE_FP32, dims: [ 4 ] } ]\n'
        f"output [ {outputs} ]\nensemble_scheduling {{ step [ {steps} ] }}\n"
    )


def row() -> list[triton.InferInput]:
    """One request's input."""
    tensor = triton.InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), dtype=np.float32))
    return [tensor]


def send(rig: TritonRig, model: str, times: int) -> None:
    """So many requests, one after the other; each must succeed."""
    with triton.InferenceServerClient(rig.grpc_url) as client:
        for _ in range(times):
            client.infer(model, row(), client_timeout=10)


def set_instances(rig: TritonRig, model: str, count: int) -> None:
    """Changes the instance count behind the control plane's back."""
    with triton.InferenceServerClient(rig.grpc_url) as client:
        changed = client.get_model_config(model, as_json=True)["config"]
        changed["instance_group"][0]["count"] = count
        client.load_model(model, config=json.dumps(changed))


class Traffic:
    """Requests without a pause, `at_once` at a time, to one `version` or to any, each given `timeout_s`.

    `answers` counts "ok" and every error by its message.
    """

    def __init__(self, rig: TritonRig, model: str, at_once: int, version: str = "", timeout_s: float = 4) -> None:
        self._version, self._timeout_s = version, timeout_s
        self.answers: Counter[str] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(rig.grpc_url, model)) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def _send(self, url: str, model: str) -> None:
        with triton.InferenceServerClient(url) as client:
            while not self._stop.is_set():
                try:
                    client.infer(model, row(), model_version=self._version, client_timeout=self._timeout_s)
                    answer = "ok"
                except InferenceServerException as error:
                    answer = str(error.message())
                    time.sleep(0.05)
                with self._lock:
                    self.answers[answer] += 1

    def end(self) -> None:
        """No more requests; returns when the last is answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> dict[str, int]:
        """Errors by message."""
        return {message: count for message, count in self.answers.items() if message != "ok"}


@contextmanager
def traffic(rig: TritonRig, model: str, at_once: int = 4, version: str = "", timeout_s: float = 4) -> Iterator[Traffic]:
    """Traffic for the length of the block."""
    made = Traffic(rig, model, at_once, version, timeout_s)
    try:
        yield made
    finally:
        made.end()


def stubs(rig: TritonRig, model: str, count: int) -> list[int]:
    """The model's stub processes once there are `count` (an old one takes a moment to go)."""
    return until(
        f"{count} stubs of {model}",
        lambda: pids if len(pids := rig.stub_pids(model)) == count else None,
        15,
        lambda: rig.stub_pids(model),
    )


def kill_stub(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def starts(rig: TritonRig, model: str) -> list[str]:
    """Names of the model's instances that Triton has started, over all its lives, in their order."""
    begins = (line.partition(INITIALIZED)[2].split() for line in rig.log_text().splitlines() if INITIALIZED in line)
    return [words[0] for words in begins if words[0].startswith(f"{model}_")]
