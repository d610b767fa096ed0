"""What the rest of the program gets from the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from controlplane.decide.mig.settings import MigSettings
from controlplane.decide.policy import Policy
from controlplane.domain.fleet import Fleet, Mode
from controlplane.domain.leader import LEASE_S
from controlplane.domain.routing import AlertSettings, GrafanaSettings, Prices


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where the API listens. `tokens_file` holds hashes of bearer tokens; without it `host` is loopback."""

    host: str = "127.0.0.1"
    port: int = 8900
    tokens_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """Where the external scaler of KEDA listens.

    With `cert_file` and `key_file` by TLS, with `client_ca_file` for clients only that show a certificate of it.
    """

    host: str = "127.0.0.1"
    port: int = 8902
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One checked configuration; durations in seconds. `store_url` may hold a password and is kept out of repr."""

    fleet: Fleet
    store_url: str = field(repr=False)
    mode: Mode = Mode.RECOMMEND
    scrape_interval_s: float = 5.0
    scrape_timeout_s: float = 2.0
    decide_interval_s: float = 15.0
    lease_s: float = LEASE_S
    api: ApiSettings = field(default_factory=ApiSettings)
    policy: Policy = field(default_factory=Policy)
    retries: int = 2
    alerts: AlertSettings = field(default_factory=AlertSettings)
    grafana: GrafanaSettings | None = None
    prices: Prices = field(default_factory=Prices)
    keda: KedaSettings | None = None
    mig: MigSettings | None = None
