"""Open-loop load on a Triton, as a gateway would bring it; a process of its own.

    python -m controlplane.demo.load --plan plan.json
    python -m controlplane.demo.load --grpc 127.0.0.1:8001 --duration 60 --model bert_classifier=0:5,30:80

Requests arrive when the plan says, whether earlier ones are answered or not, and latency counts from the planned
arrival, so that a stalled server or a late client cannot hide it. Prints one JSON line a second; ends at the plan's
end or on SIGTERM, and writes the result either way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import prometheus_client
from tritonclient.grpc import service_pb2

from controlplane.demo.load_plan import LoadPlan, profile_from_text, read_plan
from controlplane.demo.load_record import GatewayPage, ModelRecord
from controlplane.demo.load_wake import WakeError, Waker

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_DEFAULT_INPUT = (0.0, 1.0, 2.0, 3.0)
_WAKES_PER_REQUEST = 3
# What a gateway in front of gRPC answers over HTTP for each status.
_HTTP_CODES = {
    "NOT_FOUND": "404",
    "UNAVAILABLE": "503",
    "INVALID_ARGUMENT": "400",
    "DEADLINE_EXCEEDED": "504",
    "CANCELLED": "499",
    "RESOURCE_EXHAUSTED": "429",
}
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


class LoadGenerator:
    """Sends a plan's requests and records what comes back. `records` may be read at any time."""

    def __init__(self, plan: LoadPlan, page: GatewayPage) -> None:
        self.plan = plan
        self.records = {model: ModelRecord() for model in plan.profiles}
        self._page = page
        self._waker = Waker(plan.api, Path(plan.token_file) if plan.token_file else None) if plan.api else None
        self._requests = {model: _request(model, plan.inputs.get(model, _DEFAULT_INPUT)) for model in plan.profiles}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._call: Any = None
        self._stopping = asyncio.Event()
        for model in plan.profiles:
            page.expect(model)

    def stop(self) -> None:
        """No more arrivals; `run` returns when what is in flight is answered, at most two seconds later."""
        self._stopping.set()

    async def run(self, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Runs the plan and gives the result. `tell` gets one value a second."""
        began_s = time.perf_counter()
        stopped = asyncio.create_task(self._stopping.wait())
        telling = asyncio.create_task(self._tell_each_second(began_s, tell))
        async with grpc.aio.insecure_channel(self.plan.grpc, options=_CHANNEL_OPTIONS) as channel:
            self._call = channel.unary_unary(_METHOD, response_deserializer=service_pb2.ModelInferResponse.FromString)
            arriving: asyncio.Future[Any] = asyncio.gather(
                *(self._arrive(model, began_s) for model in self.plan.profiles)
            )
            await asyncio.wait([arriving, stopped], return_when=asyncio.FIRST_COMPLETED)
            await _end(arriving)
            await self._drain()
        for task in (telling, stopped):
            await _end(task)
        if self._waker:
            await self._waker.close()
        return self._result(time.perf_counter() - began_s)

    async def _drain(self) -> None:
        """Waits for what is in flight, as long as the plan says, or two seconds from being told to stop."""
        deadline_s = time.perf_counter() + self.plan.drain_s
        stopping = False
        while self._in_flight and time.perf_counter() < deadline_s:
            if self._stopping.is_set() and not stopping:
                stopping, deadline_s = True, min(deadline_s, time.perf_counter() + 2.0)
            await asyncio.sleep(0.02)
        for task in list(self._in_flight):
            await _end(task)

    async def _arrive(self, model: str, began_s: float) -> None:
        record = self.records[model]
        for at_s in self.plan.profiles[model].arrivals(f"{self.plan.seed}/{model}", self.plan.duration_s):
            arrival_s = began_s + at_s
            wait_s = arrival_s - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            record.sent += 1
            if len(self._in_flight) >= self.plan.max_in_flight:
                self._fail(model, arrival_s, "503", "shed", f"more than {self.plan.max_in_flight} requests in flight")
                continue
            task = asyncio.create_task(self._request(model, arrival_s))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _request(self, model: str, arrival_s: float) -> None:
        record = self.records[model]
        body, right = self._requests[model]
        unloaded_since_s: float | None = None
        leading = False
        for attempt in range(_WAKES_PER_REQUEST + 1):
            asked_s = time.perf_counter()
            try:
                answer = await self._call(body, timeout=self.plan.timeout_s)
            except grpc.aio.AioRpcError as error:
                message = error.details() or ""
                if not _says_unloaded(message) or self._waker is None or attempt == _WAKES_PER_REQUEST:
                    status = error.code().name
                    kind = "unloaded" if _says_unloaded(message) else status.lower()
                    self._fail(model, arrival_s, _HTTP_CODES.get(status, "500"), kind, f"{status}: {message}")
                    return
                if unloaded_since_s is None:
                    unloaded_since_s = asked_s
                    record.while_unloaded += 1
                    self._page.found_unloaded(model)
            else:
                break
            try:
                leading |= await self._waker.wake(model, asked_s)
            except WakeError as error:
                self._fail(model, arrival_s, "503", "wake", str(error))
                return
        if list(answer.raw_output_contents) != [right]:
            self._fail(model, arrival_s, "502", "wrong answer", f"got {list(answer.raw_output_contents)!r}")
            return
        ended_s = time.perf_counter()
        if leading and unloaded_since_s is not None:
            record.wakes_s.append(ended_s - unloaded_since_s)
        record.succeeded(ended_s - arrival_s)
        self._page.answered(model, "200", ended_s - arrival_s)

    def _fail(self, model: str, arrival_s: float, code: str, kind: str, message: str) -> None:
        self.records[model].went_wrong(kind, message)
        self._page.answered(model, code, time.perf_counter() - arrival_s)

    async def _tell_each_second(self, began_s: float, tell: Callable[[dict[str, Any]], None]) -> None:
        second = 0
        while True:
            second += 1
            await asyncio.sleep(max(0.0, began_s + second - time.perf_counter()))
            at_s = time.perf_counter() - began_s
            tell({"t": round(at_s, 3), "models": self._close_second(at_s)})

    def _close_second(self, at_s: float) -> dict[str, Any]:
        planned = at_s < self.plan.duration_s and not self._stopping.is_set()
        return {
            model: record.close_second(at_s, self.plan.profiles[model].rate_at(at_s) if planned else 0.0)
            for model, record in self.records.items()
        }

    def _result(self, lasted_s: float) -> dict[str, Any]:
        self._close_second(lasted_s)
        records = self.records.values()
        return {
            "duration_s": round(lasted_s, 3),
            "cpu_s": round(time.process_time(), 3),
            "requests": sum(r.sent for r in records),
            "ok": sum(r.ok for r in records),
            "failed": sum(r.failed for r in records),
            "unfinished": sum(r.in_flight for r in records),
            "requests_while_unloaded": sum(r.while_unloaded for r in records),
            "models": {model: record.summary() for model, record in self.records.items()},
        }


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancels a task that is not done; raises what it raised itself."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _request(model: str, row: tuple[float, ...]) -> tuple[bytes, bytes]:
    """An inference request as it goes over the wire, and the bytes of the right answer (the sum of the row)."""
    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add()
    tensor.name, tensor.datatype = "X", "FP32"
    tensor.shape.extend([1, len(row)])
    request.raw_input_contents.append(struct.pack(f"<{len(row)}f", *row))
    return request.SerializeToString(), struct.pack("<f", sum(row))


def _says_unloaded(message: str) -> bool:
    """Whether Triton's message says that the model is not loaded (yet), of which the server itself counts nothing."""
    return "Request for unknown model" in message or "is not at ready state" in message


async def run_load(plan: LoadPlan, *, with_parent: int | None = None) -> dict[str, Any]:
    """Runs a plan to its end, SIGTERM, SIGINT or a closed standard output and gives the result; serves the page.

    `with_parent`: also stop when this is no longer the parent process.
    """
    page = GatewayPage()
    if plan.metrics_port:
        prometheus_client.start_http_server(plan.metrics_port, "127.0.0.1", page.registry)
    generator = LoadGenerator(plan, page)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, generator.stop)

    def tell(value: dict[str, Any]) -> None:
        if with_parent is not None and os.getppid() != with_parent:
            generator.stop()
        try:
            print(json.dumps(value), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit's flush finds a reader
            generator.stop()

    return await generator.run(tell)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when the plan ran (failed requests are in the result), 2 for a plan that is none."""
    parser = argparse.ArgumentParser(prog="controlplane.demo.load", description="Open-loop load on a Triton.")
    parser.add_argument("--plan", type=Path, help="a plan as JSON; the other options but --parent are then not read")
    parser.add_argument("--grpc", default="127.0.0.1:8001")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=SECOND:RATE,SECOND:RATE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--api", help="base URL of the control plane, to wake models that are not loaded")
    parser.add_argument("--token-file")
    parser.add_argument("--metrics-port", type=int, default=0)
    parser.add_argument("--result", help="JSON file for the result")
    parser.add_argument("--parent", type=int, help="stop when this process is no longer the parent")
    given = parser.parse_args(arguments)
    try:
        plan = read_plan(given.plan) if given.plan else _plan_from(given)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    result = asyncio.run(run_load(plan, with_parent=given.parent))
    if plan.result:
        partial = Path(f"{plan.result}.tmp")
        partial.write_text(json.dumps(result) + "\n", encoding="utf-8")
        partial.rename(plan.result)
    return 0


def _plan_from(given: argparse.Namespace) -> LoadPlan:
    profiles = {name: profile_from_text(text) for name, _, text in (item.partition("=") for item in given.model)}
    if not profiles:
        raise ValueError("name at least one --model NAME=SECOND:RATE,... or a --plan")
    return LoadPlan(
        grpc=given.grpc,
        profiles=profiles,
        duration_s=given.duration,
        seed=given.seed,
        api=given.api,
        token_file=given.token_file,
        metrics_port=given.metrics_port,
        result=given.result,
    )


if __name__ == "__main__":
    raise SystemExit(main())
