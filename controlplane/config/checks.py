"""What the forms alone cannot tell: names that must meet, bounds, sources, wake sources, secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from controlplane.config.alerts import check_alerts
from controlplane.config.expected_items import check_events, check_schedules
from controlplane.config.faults import join, shown
from controlplane.config.gateways import check_gateways, is_measured
from controlplane.config.loras import check_lora
from controlplane.config.mig.check import check_mig
from controlplane.config.names import check_names, expand
from controlplane.config.objectives import Where, check_objective, to_objective
from controlplane.config.probes import check_probe
from controlplane.config.profiles import check_profile
from controlplane.config.quota import check_quota
from controlplane.config.reading import Document, ModelPart
from controlplane.config.routes import check_placed, check_routes
from controlplane.config.servers import BY_MAPPING, check_server
from controlplane.config.tree import KedaBlock, Root
from controlplane.config.units import format_duration, is_loopback
from controlplane.config.variants import check_variants
from controlplane.config.workloads import check_workloads
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import CONTROLLED, Mode, ServerKind


def check(document: Document, from_environment: frozenset[str]) -> Iterator[Fault]:
    """Every fault of meaning. `from_environment` holds the paths that environment variables gave."""
    yield from _check_root(document.root, "store" in from_environment)
    for part in document.servers:
        yield from check_server(part, document)
    if not document.kinds and not document.servers and not document.workloads:
        yield Fault("servers", "nothing", "at least one server, or a workload")
    yield from check_workloads(document)
    if document.root.keda is not None and not any(w.item.publish_only for w in document.workloads):
        yield Fault("keda", "this block", "with a workload that has publish_only: true: it tells replicas of no other")
    yield from check_quota(document)
    yield from check_mig(document)
    yield from check_gateways(document)
    yield from check_routes(document)
    yield from check_alerts(document)
    yield from check_events(
        {part.path: part.item for part in document.events},
        [part.item.name for part in document.models],
        [part.item.name for part in document.workloads],
    )
    yield from _check_names(document)
    yield from _check_single(document)
    served: Counter[tuple[str, str]] = Counter()
    for model in document.models:
        yield from _check_model(model, document)
        for server in expand(model.item.runs_on, document.kinds):
            key = (server, model.item.served_name or model.item.name)
            served[key] += 1
            if served[key] > 1:
                allowed = f"each served_name once on a server; {server} has it already"
                yield Fault(join(model.path, "served_name"), repr(key[1]), allowed)


def _check_root(root: Root, store_from_environment: bool) -> Iterator[Fault]:
    scrape, decide, policy = root.scrape, root.decide, root.policy
    if scrape.timeout >= scrape.interval:
        allowed = f"shorter than scrape.interval ({format_duration(scrape.interval)})"
        yield Fault("scrape.timeout", format_duration(scrape.timeout), allowed)
    if decide.interval < scrape.interval:
        allowed = f"at least scrape.interval ({format_duration(scrape.interval)})"
        yield Fault("decide.interval", format_duration(decide.interval), allowed)
    if policy.back_off_min > policy.back_off_max:
        allowed = f"at most policy.back_off_max ({format_duration(policy.back_off_max)})"
        yield Fault("policy.back_off_min", format_duration(policy.back_off_min), allowed)
    if policy.quantile_normal > policy.quantile_burning:
        allowed = f"at most policy.quantile_burning ({policy.quantile_burning:g})"
        yield Fault("policy.quantile_normal", f"{policy.quantile_normal:g}", allowed)
    if policy.data_max_age is not None and policy.data_max_age < scrape.interval + scrape.timeout:
        allowed = f"at least scrape.interval and scrape.timeout ({format_duration(scrape.interval + scrape.timeout)})"
        yield Fault("policy.data_max_age", format_duration(policy.data_max_age), allowed)
    yield from _check_access(root, store_from_environment)
    if root.keda is not None:
        yield from _check_keda(root.keda)


def _check_keda(keda: KedaBlock) -> Iterator[Fault]:
    if (keda.cert_file is None) != (keda.key_file is None):
        missing = "cert_file" if keda.cert_file is None else "key_file"
        yield Fault(f"keda.{missing}", "nothing", "both or none of: cert_file, key_file")
    if keda.client_ca_file is not None and keda.cert_file is None:
        yield Fault("keda.client_ca_file", repr(keda.client_ca_file), "only with cert_file and key_file")


def _check_access(root: Root, store_from_environment: bool) -> Iterator[Fault]:
    """Who may reach what, and where secrets stand."""
    api = root.api
    if not is_loopback(api.host) and api.tokens_file is None:
        allowed = "only a loopback address such as 127.0.0.1 unless api.tokens_file is set (controlplane token create)"
        yield Fault("api.host", repr(api.host), allowed)
    parts = urlsplit(root.store)
    if not store_from_environment and (parts.password is not None or "password=" in parts.query.lower()):
        allowed = "no password in the file: set store_password_file or CONTROLPLANE_STORE"
        yield Fault("store", shown(root.store), allowed)
    if root.store_password_file is not None and (parts.scheme == "sqlite" or parts.username is None):
        yield Fault("store_password_file", repr(root.store_password_file), "only with a store that names a user")


def _check_names(document: Document) -> Iterator[Fault]:
    gateways = ((part.path, part.item.name) for part in document.gateways)
    others = [(part.path, part.item.name) for part in document.servers]
    others += [(part.path, part.item.name) for part in document.workloads]
    others += [(part.path, part.item.name) for part in document.models]
    agents = ((part.path, part.item.name) for part in document.agents)
    sources = ((part.path, part.item.name) for part in document.prometheus)
    for kind, named in (
        ("gateways", gateways),
        ("agents", agents),
        ("entries of prometheus", sources),
        ("servers, workloads and models", others),
    ):
        first: dict[str, str] = {}
        for path, name in named:
            if name in first:
                allowed = f"a name that is unique among {kind}; {first[name]} has it already"
                yield Fault(join(path, "name"), repr(name), allowed)
            first.setdefault(name, path)


def _check_model(part: ModelPart, document: Document) -> Iterator[Fault]:
    model = part.item
    yield from check_names(part.item.runs_on, join(part.path, "runs_on"), document.kinds)
    yield from check_placed(part, document)
    bounds = model.instances
    if bounds.min > bounds.max:
        yield Fault(join(part.path, "instances", "min"), str(bounds.min), f"at most instances.max ({bounds.max})")
    yield from check_schedules(model.schedules, join(part.path, "schedules"), bounds.max, "instances")
    if not model.wake.ensure and (model.idle_unload is not None or bounds.min == 0):
        why = "idle_unload" if model.idle_unload is not None else "instances.min: 0"
        allowed = f"with {why} a wake source is needed, such as wake: {{ensure: true}}: servers count no requests for a"
        yield Fault(join(part.path, "wake"), "nothing", f"{allowed} model that is not loaded")
    yield from _check_to_zero(part, document)
    kinds = kinds_of(part, document)
    if model.probe is not None:
        yield from check_probe(model.probe, next(iter(kinds)) if len(kinds) == 1 else None, join(part.path, "probe"))
    if len(kinds) > 1:
        yield Fault(join(part.path, "runs_on"), "servers of several kinds", "servers of one kind for one model")
    elif kinds and ServerKind.TRITON not in kinds:
        yield from _check_triton_only(part, *kinds, scaled=is_scaled(part, document))
    yield from check_lora(part, next(iter(kinds)) if len(kinds) == 1 else None, document)
    yield from check_variants(part, document)
    profile = document.profiles.get(model.name)
    if profile is not None and len(kinds) == 1:
        yield from check_profile(part, profile, *kinds)
    where = _where(part, document, kinds)
    first: dict[str, str] = {}
    for objective in part.objectives:
        yield from check_objective(objective, model, where)
        value = to_objective(objective.item)
        if value is not None and value.key in first:
            allowed = (
                "one objective of a kind, threshold and source, whatever its window and target;"
                f" {first[value.key]} is the same"
            )
            yield Fault(objective.path, value.key, allowed)
        elif value is not None:
            first[value.key] = objective.path


def _check_to_zero(part: ModelPart, document: Document) -> Iterator[Fault]:
    """What a model on a workload that may have no replica needs, so that it can go there and come back."""
    names, model = expand(part.item.runs_on, document.kinds), part.item
    bounds = ((w.item.name, w.item.replicas) for w in document.workloads if w.item.name in names)
    zero = [name for name, replicas in bounds if replicas is not None and replicas.min == 0]
    if not zero or model.idle_unload is not None or model.lora is not None:
        return
    why = f"with replicas.min: 0 of workload {zero[0]}"
    yield Fault(
        join(part.path, "idle_unload"), "nothing", f"a time such as 30m, {why}: after it nobody needs a replica"
    )
    if not model.wake.ensure:
        allowed = f"{why} a wake source is needed, such as wake: {{ensure: true}}: without replicas nothing counts"
        yield Fault(join(part.path, "wake"), "nothing", f"{allowed} requests")


def _check_triton_only(part: ModelPart, kind: ServerKind, *, scaled: bool) -> Iterator[Fault]:
    """What only models on Triton can have, or on workloads whose replicas are decided: else nothing would heed it."""
    model, allowed = part.item, "only for models on Triton; other servers are observed"
    sleeps = kind is ServerKind.VLLM
    if sleeps:
        allowed = "only for models on Triton; a vLLM has one instance of each, which is there or not"
    if kind is ServerKind.OLLAMA:
        allowed = (
            "only for models on Triton; Ollama loads on request, unloads when idle by itself and tells no requests"
        )
    given = {
        "mode": model.mode not in {None, Mode.OBSERVE} and kind not in CONTROLLED and not scaled,
        "instances": "instances" in model.model_fields_set,
        "schedules": bool(model.schedules),
        "idle_unload": model.idle_unload is not None and not scaled and not sleeps,
        "wake": "wake" in model.model_fields_set and not scaled and not sleeps,
    }
    for key in (key for key, is_given in given.items() if is_given):
        yield Fault(join(part.path, key), "this key", allowed)


def _where(part: ModelPart, document: Document, kinds: frozenset[ServerKind]) -> Where:
    """What the model's objectives may be; servers of several kinds, or a mapping at fault, leave that open."""
    mappings = tuple(document.mappings[name] for name in expand(part.item.runs_on, document.mappings))
    sure = len(kinds) == 1 and (bool(mappings) or not kinds <= BY_MAPPING)
    gateways = tuple(gateway for gateway in document.gateways if is_measured(gateway.item))
    return Where(kinds if sure else tuple(ServerKind), mappings, gateways, document.prometheus)


def _check_single(document: Document) -> Iterator[Fault]:
    """A page that names no model is about one."""
    taken: dict[str, str] = {}
    for part in document.models:
        for server in expand(part.item.runs_on, document.mappings):
            if not document.mappings[server].model_label:
                if server in taken:
                    allowed = f"one model on {server}, whose page names none; {taken[server]} has it already"
                    yield Fault(join(part.path, "runs_on"), repr(server), allowed)
                taken.setdefault(server, part.path)


def is_scaled(part: ModelPart, document: Document) -> bool:
    """Whether the model runs on a workload whose replicas are decided."""
    names = set(expand(part.item.runs_on, document.kinds))
    return any(w.item.replicas is not None and w.item.name in names for w in document.workloads)


def kinds_of(part: ModelPart, document: Document) -> frozenset[ServerKind]:
    """The kinds, where they are known, of the servers on which a model runs."""
    kinds = (document.kinds[name] for name in expand(part.item.runs_on, document.kinds))
    return frozenset(kind for kind in kinds if kind is not None)
