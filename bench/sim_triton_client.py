"""Sends requests to a Triton at given times and prints what it measured as JSON.

python -m bench.sim_triton_client, with {"grpc": ..., "model": ..., "idle": ..., "at_s": [...]} on standard input.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

_HEAD_START_S = 0.5
_SETTLE_S = 3.0  # until the clients that were started together have loaded what they need
_IDLE_GAP_S = 0.05
_TIMEOUT_S = 60.0


def _request(model: str) -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add()
    tensor.name, tensor.datatype = "X", "FP32"
    tensor.shape.extend([1, 4])
    request.raw_input_contents.append(struct.pack("<4f", 1.0, 2.0, 3.0, 4.0))
    return request


async def idle(stub: Any, model: str, count: int) -> list[tuple[float, float]]:
    """One request after the other: its seconds, and those of its execution by the server's statistics."""
    asked = service_pb2.ModelStatisticsRequest(name=model)
    times, before_ns = [], -1
    for _ in range(count + 1):
        await asyncio.sleep(_IDLE_GAP_S)
        began_s = time.perf_counter()
        await stub.ModelInfer(_request(model), timeout=_TIMEOUT_S)
        took_s = time.perf_counter() - began_s
        await asyncio.sleep(_IDLE_GAP_S)  # statistics follow the answer
        stats = (await stub.ModelStatistics(asked, timeout=_TIMEOUT_S)).model_stats[0].inference_stats
        now_ns = stats.compute_input.ns + stats.compute_infer.ns + stats.compute_output.ns
        times.append((took_s, (now_ns - before_ns) / 1e9))
        before_ns = now_ns
    return times[1:]


async def loaded(stub: Any, model: str, at_s: list[float]) -> tuple[list[float], list[float]]:
    """Seconds from the moment at which each request was due to its answer, and to its sending, which is part of it."""
    request, took_s, late_s = _request(model), [0.0] * len(at_s), [0.0] * len(at_s)
    began_s = time.perf_counter() + _HEAD_START_S

    async def ask(number: int) -> None:
        late_s[number] = time.perf_counter() - began_s - at_s[number]
        await stub.ModelInfer(request, timeout=_TIMEOUT_S)
        took_s[number] = time.perf_counter() - began_s - at_s[number]

    asked = []
    for number, due_s in enumerate(at_s):
        wait_s = began_s + due_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        asked.append(asyncio.create_task(ask(number)))
    await asyncio.gather(*asked)
    return took_s, late_s


async def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Both, one after the other. Raises grpc.aio.AioRpcError for a request that failed."""
    async with grpc.aio.insecure_channel(given["grpc"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await asyncio.sleep(_SETTLE_S)
        alone = await idle(stub, given["model"], given["idle"])
        took_s, late_s = await loaded(stub, given["model"], given["at_s"])
        return {"idle": alone, "took_s": took_s, "late_s": late_s}


def main() -> None:
    """One measurement."""
    print(json.dumps(asyncio.run(measure(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
