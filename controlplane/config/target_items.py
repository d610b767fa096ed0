"""What is read, as it is written: servers, workloads, a Prometheus, gateways, agents."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field

from controlplane.config.block import Block
from controlplane.config.bounds import ActEvery, Patience, Settling, Timeout
from controlplane.config.expected_items import ScheduleItem
from controlplane.config.kubernetes_forms import ApiVersion, Kind, Label
from controlplane.config.units import (
    GpuName,
    Grpc,
    Memory,
    Name,
    Names,
    Pattern,
    Price,
    Url,
    Whole,
    parse_whole,
)
from controlplane.domain.fleet import MOST_REPLICAS, ServerKind
from controlplane.domain.sources import AgentKind

_METRIC = r"^[A-Za-z_:][A-Za-z0-9_:]*$"


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


class ThroughBlock(Block):
    """What a Prometheus scrapes and is asked of it, in place of a metrics page."""

    prometheus: str = Field(min_length=1, description="Name of an entry in `prometheus`.")
    labels: dict[str, str] = Field(
        description="Labels of the target there, such as {job: triton, instance: 'triton-0:8002'}: of one target for a"
        " server, of any number for a gateway.",
    )


class ServerItem(Block):
    """One serving process."""

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
    memory: Memory | None = Field(
        default=None, description="GPU (or host) memory that its models may have together; default: as NVML tells it."
    )


class PrometheusItem(Block):
    """A Prometheus (or Thanos, Mimir), which knows of servers or scrapes them for us."""

    name: Name = Field(description="Unique among entries of `prometheus`.")
    url: Url = Field(description="Base URL of its HTTP API, such as http://prometheus:9090.")
    timeout: Timeout = Field(default=5.0, description="A question to it is given up after this long.")
    interval: ActEvery = Field(
        default=15.0,
        description="How often it scrapes what is read through it; what is older than three times that is stale.",
    )
    token_file: str | None = Field(
        default=None, min_length=1, description="File that holds a bearer token; read anew for each question."
    )


class DrainBlock(Block):
    """How pods leave traffic before they go: by a label that their Service selects, and their own object does not."""

    label: Label = Field(
        min_length=1,
        description="Label, as KEY=VALUE, that the pod template has and the Service selects; pods that are to go get"
        " the value `off`.",
    )
    timeout: Patience = Field(
        default=120.0,
        description="A pod that is not known to have ended what it has after so long goes all the same; longer than"
        " `settle`.",
    )
    settle: Settling = Field(
        default=10.0,
        description="For so long after the label was set, requests may still come: Services are followed late.",
    )


class KubernetesBlock(Block):
    """Pods of one namespace by label selector, or the pods behind services. At most one of both is given.

    `kind` and `name` name the object whose replicas they are; with them alone its pods are found by its own selector.
    """

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
    kind: Kind | None = Field(
        default=None,
        description="Kind of the object that is scaled, with `name`: Deployment, StatefulSet, LeaderWorkerSet, KServe's"
        " InferenceService, or any other with a scale subresource but ReplicaSet, whose Deployment is to be named.",
    )
    name: str | None = Field(default=None, min_length=1, description="Name of the object that is scaled.")
    api_version: ApiVersion | None = Field(
        default=None,
        description="Group and version of `kind`, such as apps/v1; default: that in which the API server has it.",
    )
    drain: DrainBlock | None = Field(
        default=None,
        description="Take pods out of traffic, and let them end what they have, before they go; absent: that is left to"
        " the pods themselves.",
    )


class TargetsBlock(Block):
    """Targets that a Prometheus scrapes."""

    source: str = Field(min_length=1, description="Name of an entry in `prometheus`.")
    where: dict[str, Pattern] = Field(
        min_length=1, description="Label and regular expression that it matches as a whole, such as {job: triton}."
    )
    through: bool = Field(
        default=True,
        description="Take the servers' metrics from that Prometheus too, as large fleets do; false: from each server.",
    )


Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(parse_whole)]


class PortsBlock(Block):
    """Where a discovered server listens, where that is not the usual port of its kind."""

    http: Port | None = Field(default=None, description="Its HTTP API.")
    grpc: Port | None = Field(default=None, description="Its gRPC endpoint; Triton only.")
    metrics: Port | None = Field(default=None, description="Its metrics page; default: `http` where that has the page.")


class ReplicasBlock(Block):
    """How many replicas a workload may have; 0 at least needs `idle_unload` and a wake source of each of its models."""

    min: Whole = Field(default=1, ge=0, le=MOST_REPLICAS, description="Fewest.")
    max: Whole = Field(ge=1, le=MOST_REPLICAS, description="Most.")


class WorkloadItem(Block):
    """Servers alike that are discovered. Exactly one of `kubernetes` and `prometheus` is given.

    With `replicas` both may be left out, for `controlplane decide` only: there each line tells the servers.
    """

    name: Name = Field(description="Unique among servers, workloads and models. Its servers are called NAME/INSTANCE.")
    kind: ServerKind = Field(description="Which serving software they run.")
    kubernetes: KubernetesBlock | None = Field(default=None, description="Found as pods.")
    prometheus: TargetsBlock | None = Field(default=None, description="Found as targets of a Prometheus.")
    ports: PortsBlock = Field(default=PortsBlock(), description="Ports; default: the usual ones of the kind.")
    replicas: ReplicasBlock | None = Field(
        default=None,
        description="Bounds within which replicas are decided, of kinds vllm and triton; absent: they are not.",
    )
    schedules: list[ScheduleItem] = Field(default=[], description="Warm minimums by schedule, over `replicas.min`.")
    gpus_per_replica: Whole = Field(default=1, ge=1, le=1024, description="GPUs of one replica.")
    publish_only: bool = Field(
        default=False, description="Replicas are decided and told, and something else, such as KEDA, carries them out."
    )
    gpu: GpuName | None = Field(
        default=None, description="Type of its GPUs, by which `quota.by_gpu` names it, such as h100."
    )
    price: Price | None = Field(
        default=None,
        description="What a replica costs an hour, to compare workloads of one model; default: its GPUs, each alike.",
    )
    mapping: str | None = Field(
        default=None, min_length=1, description="With kind mapped: a name in `mappings`, or a mapping file."
    )
    memory: Memory | None = Field(
        default=None, description="Memory that the models of each of its servers may have; default: as NVML tells it."
    )


class RoutesBlock(Block):
    """A gateway that sends a request only to servers that hold its model: these need not hold the same ones."""

    url: Url = Field(description="Tells to which servers it routes each model now, as JSON: {model: [server, ...]}.")
    servers: Names = Field(
        min_length=1, description="Names of servers and workloads behind it; `*` in a name stands for anything."
    )


class GatewayItem(Block):
    """What stands before the servers: a histogram of request durations (`page` or `through`), `routes`, or both.

    The keys from `histogram` to `where` have defaults by kind (see the how-to on gateways).
    """

    name: Name = Field(description="Unique among gateways.")
    kind: GatewayKind = Field(default=GatewayKind.HISTOGRAM, description="What it is.")
    routes: RoutesBlock | None = Field(
        default=None, description="It routes by model; absent: all servers of a model hold it."
    )
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


class AgentItem(Block):
    """A GPU node with `controlplane agent` or NVIDIA's dcgm-exporter. The machine of `controlplane run` needs none."""

    name: Name = Field(description="Name of the node; unique among agents.")
    url: Url = Field(description="URL of the page, such as http://gpu-node-1:8901/metrics.")
    kind: AgentKind = Field(
        default=AgentKind.AGENT,
        description="Whose page it is: `agent` of `controlplane agent`, `dcgm` of dcgm-exporter.",
    )
