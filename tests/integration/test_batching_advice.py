"""Advice on batching, followed on a real Triton: it gives what it promised."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from controlplane.collect.fleet import FleetCollector
from controlplane.decide.batching import BatchingAdvice, advise, work
from controlplane.decide.learning import learn
from controlplane.demo.rig import TritonRig
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelReading
from controlplane.domain.signal import Known
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT = "bert_classifier"
AT_ONCE = 24
SEEN_S = 8.0
BATCHED = "dynamic_batching { max_queue_delay_microseconds: 2000 }"
wall_clock = time.time  # noqa: TID251 - real servers live in real time


def unbatched(repository: Path) -> None:
    """Most of an execution's time is fixed, so that batches pay; and none are formed."""
    path = repository / BERT / "config.pbtxt"
    config = path.read_text()
    for then, now in ((BATCHED, ""), ('"2.58"', '"18"'), ('"13.691"', '"2"')):
        assert then in config
        config = config.replace(then, now)
    path.write_text(config)


def rows(count: int) -> list[triton.InferInput]:
    tensor = triton.InferInput("X", [count, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((count, 4), dtype=np.float32))
    return [tensor]


@asynccontextmanager
async def load(rig: TritonRig) -> AsyncIterator[None]:
    """So many requests under way all the time; each tenth is a batch of four by the client."""
    stop, sizes = asyncio.Event(), itertools.cycle([4, *[1] * 9])
    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:

        async def one() -> None:
            while not stop.is_set():
                await client.infer(BERT, rows(next(sizes)))

        senders = [asyncio.create_task(one()) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*senders)


async def seen_under_load(rig: TritonRig, collector: FleetCollector) -> ModelReading:
    """What the control plane reads of some seconds of load."""
    async with load(rig):
        await asyncio.sleep(1.0)
        since = wall_clock()
        while wall_clock() < since + SEEN_S:
            await collector.collect(0)
            await asyncio.sleep(1.0)
        reading = collector.reading(wall_clock()).servers["t"].models[BERT]
    assert isinstance(reading, Known)
    newest = tuple(i for i in reading.value.intervals if i.start >= since)
    return ModelReading(
        reading.value.state,
        max_batch_size=reading.value.max_batch_size,
        dynamic_batching=reading.value.dynamic_batching,
        max_queue_delay_s=reading.value.max_queue_delay_s,
        preferred_batch_sizes=reading.value.preferred_batch_sizes,
        intervals=newest,
    )


def advice_on(reading: ModelReading) -> BatchingAdvice | None:
    knobs = BatchingKnobs(
        reading.max_batch_size, reading.dynamic_batching, reading.max_queue_delay_s, reading.preferred_batch_sizes
    )
    worked = work(reading.intervals)
    assert worked is not None
    return advise(worked, knobs, learn((), reading.intervals, 0.0), 1, (None, 0.0))


def per_s(reading: ModelReading) -> float:
    return sum(i.completed for i in reading.intervals) / sum(i.length_s for i in reading.intervals)


async def test_dynamic_batching_turned_on_as_advised_gives_at_least_half_of_what_was_promised(
    triton_rig: RigFactory,
) -> None:
    rig = triton_rig([BERT], load=(BERT,), start=False)
    unbatched(rig.repository)
    await asyncio.to_thread(rig.start)
    server = ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url)
    fleet = Fleet((server,), (ModelSpec(BERT, BERT, ("t",), Mode.RECOMMEND),))
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    try:
        before = await seen_under_load(rig, collector)
        advice = advice_on(before)
        assert advice is not None
        assert advice.case is BatchingCase.UNBATCHED
        assert advice.gain is not None

        async with triton_aio.InferenceServerClient(rig.grpc_url) as client:
            config = (await client.get_model_config(BERT, as_json=True))["config"]
            assert "dynamic_batching" not in config
            await client.load_model(BERT, config=json.dumps(config | {"dynamic_batching": {}}))
        after = await seen_under_load(rig, collector)
    finally:
        await collector.close()

    promised = advice.gain.capacity_after_per_s / advice.gain.capacity_before_per_s - 1
    assert per_s(after) / per_s(before) - 1 >= 0.5 * promised
    assert promised > 2.0
    assert after.dynamic_batching
    assert after.preferred_batch_sizes == (8,), "Triton shows the largest batch where none is preferred"
    told = advice_on(after)
    assert told is None or told.case is not BatchingCase.UNBATCHED
