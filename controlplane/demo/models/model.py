"""The demo's models: a Triton python-backend model that waits as long as a published model on a GPU would compute.

An execution of B items takes time_scale * slowed * (a_ms + b_ms * B) milliseconds; all of these are parameters of
config.pbtxt, which names the source. It waits with sleeps until absolute deadlines and burns no CPU, as a model on a
GPU leaves the host's CPU alone. Models that name the same `gpu` share one: for `gpu_serial_share` of its time an
execution holds a lock across processes, so that more instances stop helping once that lock is always held.
"""

import fcntl
import json
import os
import time

import numpy as np
import triton_python_backend_utils as pb_utils


def _sleep_until(deadline_s):
    while (left_s := deadline_s - time.monotonic()) > 0:
        time.sleep(left_s)


class TritonPythonModel:
    def initialize(self, args):
        given = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        scale = float(given["time_scale"]) * float(given["slowed"]) / 1e3
        self.a_s = float(given["a_ms"]) * scale
        self.b_s = float(given["b_ms"]) * scale
        self.fails_if_negative = given.get("fail_if_input_negative") == "true"
        self.serial_share = float(given["gpu_serial_share"]) if given.get("gpu") else 0.0
        self.gpu = None
        if self.serial_share:
            os.makedirs(given["gpu_lock_dir"], exist_ok=True)
            self.gpu = open(os.path.join(given["gpu_lock_dir"], given["gpu"] + ".lock"), "w")

    def execute(self, requests):
        began_s = time.monotonic()
        inputs = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        if self.fails_if_negative and any((x < 0).any() for x in inputs):
            raise ValueError("negative input")
        takes_s = self.a_s + self.b_s * sum(len(x) for x in inputs)
        _sleep_until(began_s + takes_s * (1 - self.serial_share))
        if self.gpu:
            fcntl.flock(self.gpu, fcntl.LOCK_EX)
            try:
                _sleep_until(time.monotonic() + takes_s * self.serial_share)
            finally:
                fcntl.flock(self.gpu, fcntl.LOCK_UN)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("SUM", x.sum(axis=1, keepdims=True, dtype=np.float32))])
            for x in inputs
        ]

    def finalize(self):
        if self.gpu:
            self.gpu.close()
