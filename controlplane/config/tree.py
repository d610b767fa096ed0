"""The configuration as it is written: keys, forms, defaults and what each is for.

The reference page and the JSON Schema are generated from this module.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from controlplane.config.alert_items import AlertsBlock
from controlplane.config.block import Block
from controlplane.config.bounds import ActEvery, Holding, Lease, Patience, Quantile, ReadEvery, Timeout
from controlplane.config.expected_items import EventItem
from controlplane.config.mig.block import MigBlock
from controlplane.config.model_items import ModelItem
from controlplane.config.target_items import AgentItem, GatewayItem, PrometheusItem, ServerItem, WorkloadItem
from controlplane.config.units import (
    Currency,
    GpuName,
    Name,
    Price,
    Share,
    StoreUrl,
    Url,
    Whole,
    format_duration,
    format_share,
    format_window,
    parse_whole,
)
from controlplane.decide.policy import Policy
from controlplane.domain.fleet import MOST_REPLICAS, Mode
from controlplane.domain.leader import LEASE_S

_POLICY = Policy()


class ScrapeBlock(Block):
    """How often the servers are read."""

    interval: ReadEvery = Field(default=5.0, description="Time between two readings of a server.")
    timeout: Timeout = Field(
        default=2.0, description="A reading is given up after this long; shorter than the interval."
    )


class DecideBlock(Block):
    """How often decisions are made."""

    interval: ActEvery = Field(default=15.0, description="Time between two decisions; at least the scrape interval.")


class LeaderBlock(Block):
    """Which of several control planes on one PostgreSQL decides and acts; the others stand by."""

    lease: Lease = Field(
        default=LEASE_S,
        description="A leader that is not heard of for this long is replaced. Shorter is quicker to take"
        " over and more easily lost to a slow database.",
    )


class ApiBlock(Block):
    """Where people and programs reach the control plane."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; loopback unless tokens_file is set."
    )
    port: Whole = Field(default=8900, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tokens_file: str | None = Field(
        default=None, min_length=1, description="File of token hashes, written by `controlplane token create`."
    )


class PolicyBlock(Block):
    """How boldly capacity follows demand. The defaults suit most; change one at a time."""

    scale_down_after: Patience = Field(
        default=_POLICY.scale_down_after_s, description="Fewer instances only after fewer were enough for this long."
    )
    max_step_up: Whole = Field(
        default=_POLICY.max_step_up,
        ge=1,
        le=MOST_REPLICAS,
        description="Most instances added by one decision; doubling is always allowed.",
    )
    backlog_drain: Patience = Field(
        default=_POLICY.backlog_drain_s, description="Time in which requests that wait now should have been served."
    )
    blind_raise_after: Patience = Field(
        default=_POLICY.blind_raise_after_s,
        description="After this long without data the count may be raised to a safe floor; it is never lowered.",
    )
    settle: Patience = Field(
        default=_POLICY.settle_s, description="Time from an action to the judgement of its effect."
    )
    ceiling: Holding = Field(
        default=_POLICY.ceiling_s,
        description="How long it is believed that more instances give no more throughput, or fail, once seen; twice as "
        "long each further time in a row, eight times at most.",
    )
    heal_after_failures: Whole = Field(
        default=_POLICY.heal_after_failures,
        ge=1,
        le=1000,
        description="Failed inferences without one success after which a backend counts as dead and is reloaded.",
    )
    back_off_min: Patience = Field(
        default=_POLICY.back_off_min_s, description="Wait after a first failed action; doubles with each further one."
    )
    back_off_max: Patience = Field(default=_POLICY.back_off_max_s, description="Longest wait after failed actions.")
    quantile_normal: Quantile = Field(
        default=_POLICY.quantile_normal,
        description="Quantile of demand to be served while the error budget is not burning, or is unknown.",
    )
    quantile_burning: Quantile = Field(
        default=_POLICY.quantile_burning, description="The same while the error budget burns."
    )
    planned_burn: float = Field(
        default=_POLICY.planned_burn,
        ge=0.01,
        le=100,
        description="Of replicas: burn rate of the error budget to plan for, 0.1 (safe) to 1; more costs less and"
        " spends the budget before its window ends.",
    )
    replicas_down_after: Patience = Field(
        default=_POLICY.replicas_down_after_s,
        description="Fewer replicas only after fewer were enough for this long.",
    )
    data_max_age: Patience | None = Field(
        default=None,
        description=f"Readings older than this are no ground for a decision; default: {_POLICY.data_max_age_s:g}s, or"
        " three scrape intervals where that is longer.",
    )
    horizon: Patience | None = Field(
        default=None,
        description="How far ahead demand that is growing is looked at; default: the decide interval and one second.",
    )


class ActBlock(Block):
    """How much may be done at once, and how what fails is tried again."""

    changes_per_min: Whole = Field(
        default=_POLICY.changes_per_min,
        ge=1,
        le=100_000,
        description="Most steps begun within a minute, over the whole fleet, those that raise capacity first; what is"
        " over waits. What people ask for is not held back. For a large fleet more, so that it is restored sooner.",
    )
    max_share: Share = Field(
        default=_POLICY.max_share,
        description="Largest share of the servers of a workload (or of all in `servers`) from which capacity is taken"
        " at a time: unloads, reloads, fewer instances, fewer replicas. One server may always lose some.",
    )
    retries: Whole = Field(
        default=2,
        ge=0,
        le=5,
        description="Further tries of a step that found nobody, 2 s apart and more; no other failure is tried again"
        " at once.",
    )
    circuit_failures: Whole = Field(
        default=_POLICY.circuit_failures,
        ge=1,
        le=1000,
        description="Steps in a row that found nobody at a server or workload, after which it is left alone.",
    )
    circuit_pause: Patience = Field(
        default=_POLICY.circuit_pause_s,
        description="For how long; then one step tries. Doubles each time, to `policy.back_off_max`.",
    )


class GrafanaBlock(Block):
    """A Grafana that `controlplane dashboards push` fills."""

    url: Url = Field(description="Base URL of Grafana.")
    token_file: str = Field(
        min_length=1,
        description="File that holds a token of a service account with role Editor; Admin for the data source too.",
    )
    prometheus_url: Url = Field(description="Where Grafana reaches the Prometheus that scrapes the control plane.")
    folder: str = Field(default="controlplane", min_length=1, description="Title of the folder for the dashboards.")


class KedaBlock(Block):
    """Where KEDA asks for the replicas of workloads with `publish_only`.

    Files are PEM. `cert_file` and `key_file` are given together or not at all.
    """

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: Whole = Field(default=8902, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    cert_file: str | None = Field(default=None, min_length=1, description="Certificate to serve by TLS with.")
    key_file: str | None = Field(default=None, min_length=1, description="Its key.")
    client_ca_file: str | None = Field(
        default=None, min_length=1, description="Only clients with a certificate of this authority are answered."
    )


class CostBlock(Block):
    """What GPUs cost, for figures of cost by model."""

    currency: Currency = Field(default="USD", description="Name of the currency, such as EUR.")
    gpu_hour: Price | None = Field(
        default=None, description="Price of an hour of a GPU that `gpu_hours` does not name."
    )
    gpu_hours: dict[GpuName, Price] = Field(
        default={},
        description="Price of an hour by the name of the GPU, such as {NVIDIA H100 80GB HBM3: 4.1}; a GPU without"
        " a price has no cost.",
        json_schema_extra={"format": "names and prices"},
    )


GpuCount = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(parse_whole)]


class QuotaBlock(Block):
    """GPUs that all workloads may have together; what runs beyond is taken away, and nothing is started beyond."""

    gpus: GpuCount | None = Field(default=None, description="Of all types together; absent: no limit.")
    by_gpu: dict[GpuName, GpuCount] = Field(
        default={},
        description="Of a type, by the `gpu` of workloads, such as {h100: 8}; a type that is not named has no limit of"
        " its own.",
        json_schema_extra={"format": "names and numbers"},
    )


class Root(Block):
    """The whole file."""

    store: StoreUrl = Field(
        default="sqlite:///controlplane.db",
        description="Where history is kept. A relative file is relative to the working directory. No password here:"
        " use store_password_file or the environment.",
    )
    store_password_file: str | None = Field(
        default=None, min_length=1, description="File that holds the password of the PostgreSQL user named in `store`."
    )
    mode: Mode = Field(
        default=Mode.RECOMMEND,
        description="observe: collect and judge. recommend: decide and explain too, and carry out what people ask for."
        " act: carry out decisions.",
    )
    scrape: ScrapeBlock = Field(default=ScrapeBlock(), description="How often the servers are read.")
    decide: DecideBlock = Field(default=DecideBlock(), description="How often decisions are made.")
    leader: LeaderBlock = Field(
        default=LeaderBlock(), description="Which of several control planes on one PostgreSQL decides and acts."
    )
    api: ApiBlock = Field(default=ApiBlock(), description="Where people and programs reach the control plane.")
    policy: PolicyBlock = Field(default=PolicyBlock(), description="How boldly capacity follows demand.")
    act: ActBlock = Field(default=ActBlock(), description="How much may be done at once, and what is tried again.")
    mappings: dict[Name, str] = Field(
        default={}, description="Mapping files by name, for servers of kind mapped. Relative to the working directory."
    )
    servers: list[ServerItem] = Field(default=[], description="The serving processes.")
    prometheus: list[PrometheusItem] = Field(default=[], description="Prometheus servers that are asked.")
    workloads: list[WorkloadItem] = Field(default=[], description="Servers that are discovered and come and go.")
    gateways: list[GatewayItem] = Field(default=[], description="What stands before the servers and times requests.")
    agents: list[AgentItem] = Field(default=[], description="GPU nodes whose GPUs are to be seen.")
    models: list[ModelItem] = Field(default=[], description="The models.")
    events: list[EventItem] = Field(default=[], description="Demand that is known to come.")
    alerts: AlertsBlock = Field(default=AlertsBlock(), description="How alerts are sent, and to whom.")
    grafana: GrafanaBlock | None = Field(default=None, description="A Grafana to push dashboards to; absent: none.")
    cost: CostBlock = Field(default=CostBlock(), description="What GPUs cost.")
    keda: KedaBlock | None = Field(default=None, description="The external scaler for KEDA; absent: none.")
    quota: QuotaBlock | None = Field(
        default=None, description="GPUs that all workloads may have together; absent: no limit."
    )
    mig: MigBlock | None = Field(default=None, description="MIG layouts to plan; absent: none are planned.")


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors. It holds forms and keys; `controlplane check` knows more."""
    tree = Root.model_json_schema()
    written = {"duration": format_duration, "share": format_share, "window": format_window}
    for block in (tree, *tree["$defs"].values()):
        for field in block.get("properties", {}).values():
            write = written.get(field.get("format"))
            if write and "default" in field:
                field["default"] = write(field["default"])
    return tree
