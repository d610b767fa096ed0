"""What is read beside the servers: Prometheus servers, gateways, and agents on GPU nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class PrometheusSpec:
    """A Prometheus (or Thanos, Mimir) that scrapes servers for us, about every `interval_s` seconds.

    `token_file` holds a bearer token, empty: none.
    """

    name: str
    url: str
    timeout_s: float
    token_file: str = ""
    interval_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Through:
    """A server whose metrics are asked of a Prometheus: its name there is a set of labels, such as job and instance."""

    prometheus: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """A request-duration histogram of what stands before the servers, on a page or asked of a Prometheus.

    `histogram` is the family name without `_bucket`, its edges are in units of `unit_s`; `model_label` holds the model;
    `code_label` (may be "") the response code, and codes matching the regular expression `error_codes` as a whole are
    bad events. `counter` counts requests by code where the histogram does not tell them apart. Series whose labels do
    not match `where` (regular expressions, as a whole) are not read. `models` has the label's value for a model that
    the gateway knows by another name. `through` None: the page is scraped; else all targets with its labels count.
    """

    name: str
    page: str
    histogram: str
    model_label: str
    code_label: str
    error_codes: str
    unit_s: float = 1.0
    counter: str = ""
    where: tuple[tuple[str, str], ...] = ()
    models: tuple[tuple[str, str], ...] = ()
    through: Through | None = None


class AgentKind(StrEnum):
    """Whose page tells the GPUs of a node."""

    AGENT = "agent"
    """`controlplane agent`."""
    DCGM = "dcgm"
    """NVIDIA's dcgm-exporter."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """The agent on a GPU node; `url` is that of its page. The name names the node."""

    name: str
    url: str
    kind: AgentKind = AgentKind.AGENT
