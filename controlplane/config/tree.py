"""The configuration as it is written: keys, forms, defaults and what each is for.

The reference page and the JSON Schema are generated from this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from controlplane.config.promql import CounterSelector
from controlplane.config.units import (
    Body,
    Duration,
    Grpc,
    Name,
    Names,
    Pattern,
    Rate,
    Share,
    StoreUrl,
    Url,
    Version,
    Whole,
    WindowLength,
    Zone,
    format_duration,
    format_share,
    format_window,
)
from controlplane.decide.policy import Policy
from controlplane.domain.fleet import AgentKind, Mode, ServerKind
from controlplane.domain.objectives import IndicatorSource

_METRIC = r"^[A-Za-z_:][A-Za-z0-9_:]*$"
_POLICY = Policy()
_DAY_S = 86400.0


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewayKind(StrEnum):
    """What stands before the servers."""

    HISTOGRAM = "histogram"
    """Anything with a histogram of request durations."""
    ISTIO = "istio"
    ENVOY = "envoy"
    NGINX = "nginx"
    """The Kubernetes project's ingress-nginx."""


class TimeUnit(StrEnum):
    """A unit of times on a metrics page."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"


class ScrapeBlock(_Block):
    """How often the servers are read."""

    interval: Duration = Field(default=5.0, description="Time between two readings of a server.")
    timeout: Duration = Field(
        default=2.0, description="A reading is given up after this long; shorter than the interval."
    )


class DecideBlock(_Block):
    """How often decisions are made."""

    interval: Duration = Field(default=15.0, description="Time between two decisions; at least the scrape interval.")


class ApiBlock(_Block):
    """Where people and programs reach the control plane."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; loopback unless tokens_file is set."
    )
    port: Whole = Field(default=8900, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tokens_file: str | None = Field(
        default=None, min_length=1, description="File of token hashes, written by `controlplane token create`."
    )


class PolicyBlock(_Block):
    """How boldly capacity follows demand. The defaults suit most; change one at a time."""

    scale_down_after: Duration = Field(
        default=_POLICY.scale_down_after_s, description="Fewer instances only after fewer were enough for this long."
    )
    max_step_up: Whole = Field(
        default=_POLICY.max_step_up,
        ge=1,
        description="Most instances added by one decision; doubling is always allowed.",
    )
    backlog_drain: Duration = Field(
        default=_POLICY.backlog_drain_s, description="Time in which requests that wait now should have been served."
    )
    blind_raise_after: Duration = Field(
        default=_POLICY.blind_raise_after_s,
        description="After this long without data the count may be raised to a safe floor; it is never lowered.",
    )
    settle: Duration = Field(
        default=_POLICY.settle_s, description="Time from an action to the judgement of its effect."
    )
    ceiling: Duration = Field(
        default=_POLICY.ceiling_s,
        description="How long it is believed that more instances give no more throughput, once seen.",
    )
    heal_after_failures: Whole = Field(
        default=_POLICY.heal_after_failures,
        ge=1,
        description="Failed inferences without one success after which a backend counts as dead and is reloaded.",
    )
    back_off_min: Duration = Field(
        default=_POLICY.back_off_min_s, description="Wait after a first failed action; doubles with each further one."
    )
    back_off_max: Duration = Field(default=_POLICY.back_off_max_s, description="Longest wait after failed actions.")
    quantile_normal: Share = Field(
        default=_POLICY.quantile_normal,
        description="Quantile of demand to be served while the error budget is not burning, or is unknown.",
    )
    quantile_burning: Share = Field(
        default=_POLICY.quantile_burning, description="The same while the error budget burns."
    )
    data_max_age: Duration | None = Field(
        default=None,
        description=f"Readings older than this are no ground for a decision; default: {_POLICY.data_max_age_s:g}s, or"
        " three scrape intervals where that is longer.",
    )
    horizon: Duration | None = Field(
        default=None,
        description="How far ahead demand that is growing is looked at; default: the decide interval and one second.",
    )


class ThroughBlock(_Block):
    """What a Prometheus scrapes and is asked of it, in place of a metrics page."""

    prometheus: str = Field(min_length=1, description="Name of an entry in `prometheus`.")
    labels: dict[str, str] = Field(
        description="Labels of the target there, such as {job: triton, instance: 'triton-0:8002'}: of one target for a"
        " server, of any number for a gateway.",
    )


class ServerItem(_Block):
    """One serving process. All but Triton are observed only."""

    name: Name = Field(description="Unique among servers, workloads and models.")
    kind: ServerKind = Field(description="Which serving software it runs.")
    http: Url = Field(description="Base URL of its HTTP API.")
    grpc: Grpc | None = Field(default=None, description="Its gRPC endpoint; required for Triton, absent for others.")
    metrics: Url | None = Field(
        default=None,
        description="URL of its metrics page; required for Triton and TorchServe, whose pages have a port of their own."
        " Default: `http` with /metrics, or what the mapping says. Not with `through`.",
    )
    through: ThroughBlock | None = Field(
        default=None, description="Ask a Prometheus for its metrics; default: read its page."
    )
    mapping: str | None = Field(
        default=None, min_length=1, description="With kind mapped: a name in `mappings`, or a mapping file."
    )


class PrometheusItem(_Block):
    """A Prometheus (or Thanos, Mimir), which knows of servers or scrapes them for us."""

    name: Name = Field(description="Unique among entries of `prometheus`.")
    url: Url = Field(description="Base URL of its HTTP API, such as http://prometheus:9090.")
    timeout: Duration = Field(default=5.0, description="A question to it is given up after this long.")
    interval: Duration = Field(
        default=15.0,
        description="How often it scrapes what is read through it; what is older than three times that is stale.",
    )
    token_file: str | None = Field(
        default=None, min_length=1, description="File that holds a bearer token; read anew for each question."
    )


class KubernetesBlock(_Block):
    """Pods of one namespace by label selector, or the pods behind services. Exactly one of both is given."""

    namespace: str = Field(min_length=1, description="The namespace.")
    pods: str | None = Field(default=None, min_length=1, description="Label selector of pods, such as app=triton.")
    services: str | None = Field(
        default=None, min_length=1, description="Label selector of services, whose endpoints are the servers."
    )
    kubeconfig: str | None = Field(
        default=None,
        min_length=1,
        description="Kubeconfig file; default: the pod's own service account, else the usual file.",
    )
    context: str | None = Field(default=None, min_length=1, description="Context in the kubeconfig.")


class TargetsBlock(_Block):
    """Targets that a Prometheus scrapes."""

    source: str = Field(min_length=1, description="Name of an entry in `prometheus`.")
    where: dict[str, Pattern] = Field(
        min_length=1, description="Label and regular expression that it matches as a whole, such as {job: triton}."
    )
    through: bool = Field(
        default=True,
        description="Take the servers' metrics from that Prometheus too, as large fleets do; false: from each server.",
    )


class PortsBlock(_Block):
    """Where a discovered server listens, where that is not the usual port of its kind."""

    http: Whole | None = Field(default=None, ge=1, le=65535, description="Its HTTP API.")
    grpc: Whole | None = Field(default=None, ge=1, le=65535, description="Its gRPC endpoint; Triton only.")
    metrics: Whole | None = Field(
        default=None, ge=1, le=65535, description="Its metrics page; default: `http` where that has the page."
    )


class WorkloadItem(_Block):
    """Servers alike that are discovered. Exactly one of `kubernetes` and `prometheus` is given."""

    name: Name = Field(description="Unique among servers, workloads and models. Its servers are called NAME/INSTANCE.")
    kind: ServerKind = Field(description="Which serving software they run.")
    kubernetes: KubernetesBlock | None = Field(default=None, description="Found as pods.")
    prometheus: TargetsBlock | None = Field(default=None, description="Found as targets of a Prometheus.")
    ports: PortsBlock = Field(default=PortsBlock(), description="Ports; default: the usual ones of the kind.")
    mapping: str | None = Field(
        default=None, min_length=1, description="With kind mapped: a name in `mappings`, or a mapping file."
    )


class GatewayItem(_Block):
    """A request-duration histogram of what stands before the servers. Exactly one of `page` and `through` is given.

    The keys from `histogram` to `where` have defaults by kind (see the how-to on gateways).
    """

    name: Name = Field(description="Unique among gateways.")
    kind: GatewayKind = Field(default=GatewayKind.HISTOGRAM, description="What it is.")
    page: Url | None = Field(default=None, description="URL of its metrics page.")
    through: ThroughBlock | None = Field(default=None, description="Ask a Prometheus that scrapes it.")
    histogram: str | None = Field(
        default=None,
        min_length=1,
        pattern=_METRIC,
        description="Name of the histogram without `_bucket`, such as http_request_duration_seconds; required for kind"
        " histogram.",
    )
    unit: TimeUnit | None = Field(default=None, description="Unit of the histogram; kind histogram: `s`.")
    model_label: str | None = Field(
        default=None,
        min_length=1,
        description="Label that holds the model's served_name or name, or what `models` says; kind histogram: `model`.",
    )
    code_label: str | None = Field(
        default=None, description="Label that holds the response code; kind histogram: none, so that no error is seen."
    )
    error_codes: Pattern | None = Field(
        default=None, description="Codes that match it as a whole are bad events; kind histogram: `5..`."
    )
    counter: str | None = Field(
        default=None,
        min_length=1,
        pattern=_METRIC,
        description="Counter of requests by code, where the histogram has no code_label.",
    )
    where: dict[str, Pattern] | None = Field(
        default=None, description="Label and regular expression that it matches as a whole; other series are not read."
    )
    models: dict[Name, str] = Field(
        default={}, description="Model and what model_label holds for it, where that is another name."
    )


class AgentItem(_Block):
    """A GPU node with `controlplane agent` or NVIDIA's dcgm-exporter. The machine of `controlplane run` needs none."""

    name: Name = Field(description="Name of the node; unique among agents.")
    url: Url = Field(description="URL of the page, such as http://gpu-node-1:8901/metrics.")
    kind: AgentKind = Field(
        default=AgentKind.AGENT,
        description="Whose page it is: `agent` of `controlplane agent`, `dcgm` of dcgm-exporter.",
    )


class InstancesBlock(_Block):
    """Bounds of a model's instance count, as totals per server."""

    min: Whole = Field(
        default=1, ge=0, description="Fewest instances; 0 lets the model be unloaded and needs a wake source."
    )
    max: Whole = Field(default=1, ge=1, description="Most instances.")


class WakeBlock(_Block):
    """What tells that a model which is not loaded is wanted; servers count no requests for it."""

    ensure: bool = Field(default=False, description="Clients or gateways call POST /api/v1/models/{model}/ensure.")


class ProbeBlock(_Block):
    """A real inference of our own at a steady pace, counted as its own indicator, never as load."""

    every: Duration = Field(default=30.0, description="Time between two probes.")
    timeout: Duration = Field(default=5.0, description="A probe is given up after this long; at most `every`.")
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


class RatioBlock(_Block):
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


class ObjectiveItem(_Block):
    """One target. Exactly one of the indicator keys (`availability` to `ratio`) is given."""

    availability: Share | None = Field(
        default=None, description="Share of requests answered without error; is its own target."
    )
    latency: Duration | None = Field(default=None, description="Threshold of the time to an answer; needs a source.")
    ttft: Duration | None = Field(
        default=None,
        description="Threshold of the time to the first token; on Triton to the first response, of decoupled models.",
    )
    inter_token_latency: Duration | None = Field(default=None, description="Threshold of the time between tokens.")
    e2e: Duration | None = Field(default=None, description="Threshold of the time to the whole answer.")
    queue_time: Duration | None = Field(default=None, description="Threshold of the time spent waiting.")
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
    window: WindowLength = Field(
        default=28 * _DAY_S,
        description="Time over which the target holds: the last so long, 1h to 90d, or the present day, week (from"
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


class ModelItem(_Block):
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
    idle_unload: Duration | None = Field(
        default=None, description="Unload after idling this long; needs a wake source."
    )
    wake: WakeBlock = Field(default=WakeBlock(), description="Wake source.")
    priority: Whole = Field(
        default=0, description="Who is to go first when something is scarce; higher wins. Kept, without effect yet."
    )
    device: str = Field(
        default="",
        description="What its instances share with other models where Triton cannot tell (a CPU backend, MPS).",
    )
    probe: ProbeBlock | None = Field(default=None, description="Probe; absent: none.")
    objectives: list[ObjectiveItem] = Field(default=[], description="What was promised.")


class Root(_Block):
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
    api: ApiBlock = Field(default=ApiBlock(), description="Where people and programs reach the control plane.")
    policy: PolicyBlock = Field(default=PolicyBlock(), description="How boldly capacity follows demand.")
    mappings: dict[Name, str] = Field(
        default={}, description="Mapping files by name, for servers of kind mapped. Relative to the working directory."
    )
    servers: list[ServerItem] = Field(default=[], description="The serving processes.")
    prometheus: list[PrometheusItem] = Field(default=[], description="Prometheus servers that are asked.")
    workloads: list[WorkloadItem] = Field(default=[], description="Servers that are discovered and come and go.")
    gateways: list[GatewayItem] = Field(default=[], description="What stands before the servers and times requests.")
    agents: list[AgentItem] = Field(default=[], description="GPU nodes whose GPUs are to be seen.")
    models: list[ModelItem] = Field(default=[], description="The models.")


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
