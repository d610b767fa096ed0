"""A model as it is written: where it runs, its bounds, its probe and what was promised."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from controlplane.config.block import Block
from controlplane.config.bounds import Holding, ProbeEvery, Threshold, Timeout, Window
from controlplane.config.expected_items import ScheduleItem
from controlplane.config.promql import CounterSelector
from controlplane.config.units import (
    Body,
    Memory,
    Name,
    Names,
    Rate,
    Share,
    Version,
    Whole,
    Zone,
    parse_whole,
)
from controlplane.domain.batching import BatchingUse
from controlplane.domain.fleet import MOST_REPLICAS, Mode, Sharing
from controlplane.domain.objectives import IndicatorSource

_METRIC = r"^[A-Za-z_:][A-Za-z0-9_:]*$"
_DAY_S = 86400.0


class InstancesBlock(Block):
    """Bounds of a model's instance count, as totals per server."""

    min: Whole = Field(
        default=1,
        ge=0,
        le=MOST_REPLICAS,
        description="Fewest instances; 0 lets the model be unloaded and needs a wake source.",
    )
    max: Whole = Field(default=1, ge=1, le=MOST_REPLICAS, description="Most instances.")


class CopiesBlock(Block):
    """On how many servers a model is wanted, behind a gateway that routes by model."""

    min: Whole = Field(default=1, ge=1, le=MOST_REPLICAS, description="Fewest servers.")
    max: Annotated[int, Field(ge=1, le=MOST_REPLICAS), BeforeValidator(parse_whole)] | None = Field(
        default=None,
        description="Most servers; as many as hold its demand with all instances that it may have. Default: `min`.",
    )


class WakeBlock(Block):
    """What tells that a model which is not loaded is wanted; servers count no requests for it."""

    ensure: bool = Field(default=False, description="Clients or gateways call POST /api/v1/models/{model}/ensure.")


class ProbeBlock(Block):
    """A real inference of our own at a steady pace, counted as its own indicator, never as load."""

    every: ProbeEvery = Field(default=30.0, description="Time between two probes.")
    timeout: Timeout = Field(default=5.0, description="A probe is given up after this long; at most `every`.")
    body: Body | None = Field(
        default=None,
        description="The request. Triton: with `inputs`, by default made from the model's metadata, with zeros. Others:"
        " a completion (`prompt`) or chat completion (`messages`), by default of one token, streamed.",
    )
    token_file: str | None = Field(
        default=None,
        min_length=1,
        description="File that holds a bearer token, for others than Triton; read each time.",
    )


class RatioBlock(Block):
    """What a Prometheus tells: `total` with `good` or `bad`, all counters, or `value` with `at_least` or `at_most`."""

    prometheus: str = Field(min_length=1, description="Name of an entry in `prometheus`.")
    total: CounterSelector | None = Field(
        default=None,
        description="Selector of cumulative counters of all events, such as http_requests_total{job='shop'}, no rate():"
        " series are differenced here, each with its own resets, and added up.",
    )
    good: CounterSelector | None = Field(default=None, description="The same of good events.")
    bad: CounterSelector | None = Field(default=None, description="The same of bad events.")
    value: str | None = Field(
        default=None,
        min_length=1,
        description="PromQL that gives one share, 0 to 1. A slice of 10 s is one event, good when always inside.",
    )
    at_least: Share | None = Field(default=None, description="Lower bound of a good `value`.")
    at_most: Share | None = Field(default=None, description="Upper bound of a good `value`.")


class ObjectiveItem(Block):
    """One target. Exactly one of the indicator keys (`availability` to `ratio`) is given."""

    availability: Share | None = Field(
        default=None, description="Share of requests answered without error; is its own target."
    )
    latency: Threshold | None = Field(default=None, description="Threshold of the time to an answer; needs a source.")
    ttft: Threshold | None = Field(
        default=None,
        description="Threshold of the time to the first token; on Triton to the first response, of decoupled models.",
    )
    inter_token_latency: Threshold | None = Field(default=None, description="Threshold of the time between tokens.")
    e2e: Threshold | None = Field(default=None, description="Threshold of the time to the whole answer.")
    queue_time: Threshold | None = Field(default=None, description="Threshold of the time spent waiting.")
    throughput: Rate | None = Field(
        default=None,
        description="Requests to be answered per second whenever as many are asked for, by all servers together.",
    )
    token_throughput: Rate | None = Field(
        default=None, description="Tokens to be generated per second whenever as many are asked for; on vLLM."
    )
    ratio: RatioBlock | None = Field(default=None, description="What a Prometheus tells; needs a `name`.")
    name: Name | None = Field(default=None, description="Names a ratio among the objectives of its model.")
    version: Version | None = Field(
        default=None, description="Count this version of the model only; availability of models on Triton."
    )
    target: Share | None = Field(
        default=None, description="Share of events to be good; required except with availability."
    )
    window: Window = Field(
        default=28 * _DAY_S,
        description="Time over which the target holds: the last so long, or the present day, week (from"
        " Monday), month or quarter.",
    )
    timezone: Zone | None = Field(
        default=None, description="Where the days of a calendar window begin at midnight; default: UTC."
    )
    source: IndicatorSource | None = Field(
        default=None,
        description="Where events are counted. Latency: gateway, probe or, on Triton, mean_slices, must be named;"
        " availability: server (default) where it tells failures, or gateway; all others: server, where it has the"
        " histogram (see the reference of backends); ttft and e2e: probe too, but on Triton. Not for throughputs and"
        " ratios.",
    )
    gateway: Name | None = Field(
        default=None, description="With source gateway: the one that counts; default: all. Needed where two differ."
    )


class LoraBlock(Block):
    """A LoRA adapter on vLLM, loaded into a running server that allows it (see the how-to on vLLM)."""

    path: str = Field(min_length=1, description="Where the server finds it, the same on each; a new path replaces it.")
    base: str = Field(min_length=1, description="Name of the model it adapts, which runs wherever the adapter does.")
    token_file: str | None = Field(
        default=None, min_length=1, description="File that holds the server's API key; read each time."
    )


class ModelItem(Block):
    """What clients call by name, where it runs and what may be done with it."""

    name: Name = Field(description="Unique among servers, workloads and models.")
    served_name: str | None = Field(
        default=None, min_length=1, description="Its name on the servers; default: the name."
    )
    runs_on: Names = Field(
        min_length=1, description="Names of servers and workloads; `*` in a name stands for anything."
    )
    mode: Mode | None = Field(
        default=None, description="How far to go with this model; default: the mode of the whole."
    )
    instances: InstancesBlock = Field(default=InstancesBlock(), description="Bounds of the instance count.")
    schedules: list[ScheduleItem] = Field(default=[], description="Warm minimums by schedule, over `instances.min`.")
    idle_unload: Holding | None = Field(
        default=None, description="Unload (on vLLM: put to sleep) after idling this long; needs a wake source."
    )
    wake: WakeBlock = Field(default=WakeBlock(), description="Wake source.")
    priority: Whole = Field(
        default=0,
        ge=-1_000_000,
        le=1_000_000,
        description="Who gets GPUs first when `quota` makes them scarce, and memory where a gateway routes by model;"
        " higher wins.",
    )
    copies: CopiesBlock = Field(
        default=CopiesBlock(),
        description="On how many servers it is wanted, behind a gateway that routes by model; elsewhere it is on all it"
        " runs on.",
    )
    memory: Memory | None = Field(
        default=None,
        description="Memory that a copy takes on a server, with all its instances; default: as it was seen to be, "
        "which needs NVML.",
    )
    components: list[Name] = Field(
        default=[],
        description="Of an ensemble: the models it is made of, which Triton loads with it; their memory counts as its.",
    )
    device: str = Field(
        default="",
        description="What its instances share with other models where Triton cannot tell (a CPU backend, MPS).",
    )
    team: Name | None = Field(
        default=None,
        description="Name of an entry in `alerts.teams` that is told of it; default: the team `alerts.escalation`.",
    )
    lora: LoraBlock | None = Field(default=None, description="It is a LoRA adapter; absent: a model of its own.")
    probe: ProbeBlock | None = Field(default=None, description="Probe; absent: none.")
    profile: str | None = Field(
        default=None,
        min_length=1,
        description="Profile file that `controlplane profile` wrote: how fast it is, until that is learned.",
    )
    variants: Sharing = Field(
        default=Sharing.AS_SERVED,
        description="With several workloads: as_served: each has replicas for what it is seen to serve. by_cost: all"
        " together hold the demand at the least cost; only where the routing follows capacity.",
    )
    batching: BatchingUse = Field(
        default=BatchingUse.ADVISE,
        description="Advice on its batching on Triton. advise: it is told. act: in mode act it is carried out too, by a"
        " full reload, as far as it is about dynamic_batching; max_batch_size is never changed.",
    )
    objectives: list[ObjectiveItem] = Field(default=[], description="What was promised.")
