"""From a file and the environment to Settings, or every fault at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from controlplane.config.alerts import to_alerts
from controlplane.config.checks import check, is_scaled, kinds_of
from controlplane.config.environment import overlay
from controlplane.config.expected_items import to_announced, to_schedules
from controlplane.config.gateways import is_measured, to_gateway
from controlplane.config.loras import to_lora
from controlplane.config.mig.block import to_mig
from controlplane.config.mig.several import several_gpus
from controlplane.config.names import expand
from controlplane.config.objectives import to_objective
from controlplane.config.probes import to_probe
from controlplane.config.profiles import with_profiles
from controlplane.config.quota import to_quota
from controlplane.config.reading import Document, ModelPart, read_document
from controlplane.config.routes import to_routes
from controlplane.config.servers import to_server, with_mappings
from controlplane.config.settings import ApiSettings, KedaSettings, Settings
from controlplane.config.text_file import UnreadableError, read_text_file
from controlplane.config.tree import CostBlock, GrafanaBlock, KedaBlock, Root
from controlplane.config.workloads import to_prometheus, to_workload
from controlplane.config.yaml_source import read_yaml
from controlplane.decide.policy import Policy
from controlplane.domain.errors import ConfigurationError, Fault
from controlplane.domain.fleet import CONTROLLED, Fleet, Mode, ModelSpec, Wake
from controlplane.domain.routing import GrafanaSettings, Prices
from controlplane.domain.sources import AgentKind, AgentSpec


def load_settings(path: str | Path, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings in the YAML file at `path`, with `env` laid over it.

    Raises ConfigurationError with every fault found.
    """
    try:
        text = read_text_file(path)
    except UnreadableError as error:
        raise ConfigurationError(str(path), (Fault("the file", error.value, error.allowed, str(error)),)) from None
    return parse_settings(text, env, source=str(path))


def parse_settings(text: str, env: Mapping[str, str], *, source: str = "configuration") -> Settings:
    """As load_settings, from YAML text; `source` names it in the error."""
    tree, form = read_yaml(text)
    if not tree:
        raise ConfigurationError(source, tuple(form))
    tree, origins = overlay(tree, env)
    document, faults = read_document(tree)
    document, mapping_faults = with_mappings(document)
    document, profile_faults = with_profiles(document)
    password, password_faults = _password(document.root)
    for fault in [*mapping_faults, *profile_faults, *check(document, frozenset(origins)), *password_faults]:
        if not any(_hides(known.path, fault.path) for known in faults):
            faults.append(fault)
    faults.sort(key=lambda fault: _position(fault.path))
    named = tuple(Fault(_named(f.path, origins), f.value, f.allowed) for f in [*form, *faults])
    if named:
        raise ConfigurationError(source, named)
    return _settings(document, password)


def _hides(known: str, later: str) -> bool:
    """Whether a fault of form at `known` makes one of meaning at `later` (the same or what holds it) doubtful."""
    return known == later or known.startswith((f"{later}.", f"{later}["))


def _position(path: str) -> tuple[int, list[tuple[int, str]]]:
    """Where a path stands in the order of the reference, entries of a list by number."""
    steps = [(int(step), "") if step.isdigit() else (-1, step) for step in re.findall(r"\w+", path)]
    order = list(Root.model_fields)
    top = steps[0][1] if steps else ""
    return (order.index(top) if top in order else -1, steps)


def _named(path: str, origins: Mapping[str, str]) -> str:
    return f"{path} (from {origins[path]})" if path in origins else path


def _password(root: Root) -> tuple[str | None, list[Fault]]:
    file = root.store_password_file
    if file is None:
        return None, []
    try:
        return Path(file).read_text(encoding="utf-8").strip(), []
    except (OSError, UnicodeDecodeError):
        return None, [Fault("store_password_file", repr(file), "a readable file that holds the password")]


def _settings(document: Document, password: str | None) -> Settings:
    root = document.root
    store = root.store
    if password is not None:
        netloc = urlsplit(store).netloc
        user, _, host = netloc.rpartition("@")
        store = store.replace(netloc, f"{user.partition(':')[0]}:{quote(password, safe='')}@{host}", 1)
    return Settings(
        fleet=Fleet(
            servers=tuple(to_server(part, document.mappings) for part in document.servers),
            models=tuple(_model(part, document) for part in document.models),
            gateways=tuple(to_gateway(part) for part in document.gateways if is_measured(part.item)),
            prometheus=to_prometheus(document),
            workloads=tuple(to_workload(part, document) for part in document.workloads),
            routes=to_routes(document),
            agents=tuple(AgentSpec(part.item.name, part.item.url, part.item.kind) for part in document.agents),
            quota=to_quota(root.quota),
            announced=to_announced(part.item for part in document.events),
        ),
        store_url=store,
        mode=root.mode,
        scrape_interval_s=root.scrape.interval,
        scrape_timeout_s=root.scrape.timeout,
        decide_interval_s=root.decide.interval,
        lease_s=root.leader.lease,
        api=ApiSettings(root.api.host, root.api.port, Path(root.api.tokens_file) if root.api.tokens_file else None),
        policy=_policy(root, max([root.scrape.interval, *_through_s(document)])),
        retries=root.act.retries,
        alerts=to_alerts(document),
        grafana=None if root.grafana is None else _grafana(root.grafana),
        prices=_prices(root.cost),
        keda=None if root.keda is None else _keda(root.keda),
        mig=None if root.mig is None else to_mig(root.mig, _cutting(document), several_gpus(document)),
    )


def _cutting(document: Document) -> list[str]:
    """The agents that may be able to cut: DCGM's pages cannot."""
    return [part.item.name for part in document.agents if part.item.kind is AgentKind.AGENT]


def _through_s(document: Document) -> Iterator[float]:
    """How often each Prometheus scrapes through which a server is read."""
    names = {part.item.through.prometheus for part in document.servers if part.item.through}
    targets = (part.item.prometheus for part in document.workloads)
    names |= {found.source for found in targets if found and found.through}
    return (part.item.interval for part in document.prometheus if part.item.name in names)


def _model(part: ModelPart, document: Document) -> ModelSpec:
    item = part.item
    observed = bool(kinds_of(part, document) - CONTROLLED) and not is_scaled(part, document)
    mode = Mode.OBSERVE if observed else item.mode or document.root.mode
    return ModelSpec(
        name=item.name,
        served_name=item.served_name or item.name,
        runs_on=expand(item.runs_on, (part.item.name for part in document.servers)),
        workloads=expand(item.runs_on, (part.item.name for part in document.workloads)),
        mode=mode,
        objectives=tuple(o for o in (to_objective(p.item) for p in part.objectives) if o is not None),
        instances_min=item.instances.min,
        instances_max=item.instances.max,
        idle_unload_s=item.idle_unload,
        wake=Wake(ensure=item.wake.ensure),
        priority=item.priority,
        device=item.device,
        probe=None if item.probe is None else to_probe(item.probe),
        team=item.team or "",
        profile=document.profiles.get(item.name),
        variants=item.variants,
        batching=item.batching,
        schedules=to_schedules(item.schedules),
        copies_min=item.copies.min,
        copies_max=item.copies.max or item.copies.min,
        memory_bytes=item.memory,
        components=tuple(item.components),
        lora=None if item.lora is None else to_lora(item.lora),
    )


def _policy(root: Root, scrape_interval_s: float) -> Policy:
    block, act = root.policy, root.act
    usual_s = max(Policy().data_max_age_s, 3 * scrape_interval_s)
    return Policy(
        scale_down_after_s=block.scale_down_after,
        max_step_up=block.max_step_up,
        backlog_drain_s=block.backlog_drain,
        blind_raise_after_s=block.blind_raise_after,
        planned_burn=block.planned_burn,
        replicas_down_after_s=block.replicas_down_after,
        settle_s=block.settle,
        ceiling_s=block.ceiling,
        heal_after_failures=block.heal_after_failures,
        back_off_min_s=block.back_off_min,
        back_off_max_s=block.back_off_max,
        quantile_normal=block.quantile_normal,
        quantile_burning=block.quantile_burning,
        data_max_age_s=usual_s if block.data_max_age is None else block.data_max_age,
        horizon_s=root.decide.interval + 1.0 if block.horizon is None else block.horizon,
        changes_per_min=act.changes_per_min,
        max_share=act.max_share,
        circuit_failures=act.circuit_failures,
        circuit_pause_s=act.circuit_pause,
    )


def _grafana(block: GrafanaBlock) -> GrafanaSettings:
    return GrafanaSettings(block.url, Path(block.token_file), block.prometheus_url, block.folder)


def _keda(block: KedaBlock) -> KedaSettings:
    files = (None if file is None else Path(file) for file in (block.cert_file, block.key_file, block.client_ca_file))
    return KedaSettings(block.host, block.port, *files)


def _prices(block: CostBlock) -> Prices:
    return Prices(block.currency, block.gpu_hour, block.gpu_hours)
