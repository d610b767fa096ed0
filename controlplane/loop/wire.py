"""The composition root: settings in, a control plane ready to start out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from controlplane.act.by_kind import ActuatorByKind
from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.ollama import OllamaActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.act.triton import TritonActuator
from controlplane.act.vllm import VllmActuator
from controlplane.collect.fleet import FleetCollector
from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.prometheus.targets import PrometheusTargets
from controlplane.collect.token_file import read_token
from controlplane.collect.worker import Worker
from controlplane.config import Settings
from controlplane.domain.errors import ConfigurationError, Fault, PermanentError
from controlplane.domain.fleet import Fleet, KubernetesQuery, ServerKind, TargetsQuery
from controlplane.domain.mig import Slice
from controlplane.domain.picture import Picture
from controlplane.domain.ports import Actuator, Discovery, Store
from controlplane.domain.routing import GrafanaSettings, Via
from controlplane.loop.annotator import Annotator
from controlplane.loop.clock import Clock, wall_clock
from controlplane.loop.desk import Desk
from controlplane.loop.executor import Executor
from controlplane.loop.hooks import Inbox
from controlplane.loop.keep import keep_s
from controlplane.loop.kept_configs import StoredConfigs
from controlplane.loop.leader import Leader, Leases, own_name
from controlplane.loop.load import loads_of
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.mig_seen import copy_serves
from controlplane.loop.mig_wire import mig_changer
from controlplane.loop.notices import Notifier
from controlplane.loop.roster import Roster
from controlplane.loop.runner import Runner
from controlplane.loop.slo_desk import SloDesk
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.publish.alerting.alertmanager import Alertmanager
from controlplane.publish.grafana.annotations import Marks
from controlplane.publish.keda.scaler import ExternalScaler
from controlplane.publish.metrics.page import PictureMetrics
from controlplane.slo.grace import Grace
from controlplane.store import is_file, lock_file, open_reader, open_store

if TYPE_CHECKING:
    from controlplane.publish.grafana.client import Grafana

# A watch of Kubernetes that broke is made anew within seconds.
_UNWATCHED_S = 60.0


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The whole, wired. `start` resumes from the store and begins; `stop` ends it within 5 seconds.

    What people ask is read on the thread of `reports`, so that a tick's write waits for no report; it is the store's
    own where the store has one connection only.
    """

    settings: Settings
    desk: Desk
    slo: SloDesk
    inbox: Inbox
    notifier: Notifier
    annotator: Annotator | None
    scaler: ExternalScaler | None
    registry: CollectorRegistry
    runner: Runner
    leader: Leader
    mig: MigPlanner
    store: StoreThread
    reports: StoreThread
    unlock: Callable[[], None]

    def picture(self) -> Picture:
        """What is known now and was decided last."""
        return self.runner.picture()

    async def start(self) -> None:
        """Begin, to lead or to stand by.

        Raises StoreError when the store cannot be used, ConflictError where KEDA's address cannot be had.
        """
        await self.leader.start(self.runner)
        await self.runner.start()
        self.notifier.start()
        if self.annotator is not None:
            self.annotator.start()
        if self.scaler is not None:
            await self.scaler.start()

    async def stop(self) -> None:
        """End: no new ticks, actions under way are given a moment, then another may lead; the store is closed last."""
        if self.scaler is not None:
            await self.scaler.close()
        await self.notifier.close()
        if self.annotator is not None:
            await self.annotator.close()
        await self.runner.stop()
        await self.mig.stop()
        await self.leader.close()
        self.store.close()
        if self.reports is not self.store:
            self.reports.close()
        self.unlock()


def build(
    settings: Settings,
    *,
    dry_run: bool = False,
    clock: Clock = wall_clock,
    discoveries: Sequence[Discovery] | None = None,
) -> ControlPlane:
    """Wire everything that `settings` names. Opens (and migrates) the store.

    Raises StoreError, StoreBusyError, and ConfigurationError for a workload whose servers nothing finds.

    `discoveries` find servers in place of those that the workloads of the settings ask for.
    """
    fleet = settings.fleet
    if discoveries is None:
        _check_found(fleet)
    registry = CollectorRegistry()
    grace = Grace(settings.scrape_interval_s, settings.scrape_timeout_s)
    prometheus = {spec.name: Prometheus(spec) for spec in fleet.prometheus}
    collector = FleetCollector(
        fleet,
        timeout_s=settings.scrape_timeout_s,
        max_age_s=max(3 * settings.scrape_interval_s, settings.scrape_interval_s + settings.scrape_timeout_s),
        clock=clock,
        keep_s=keep_s(settings.decide_interval_s, settings.policy, max(grace.of_models(fleet).values(), default=0.0)),
        prometheus=prometheus,
    )
    grafana = None if settings.grafana is None else _grafana(settings.grafana)
    kept = _open(settings.store_url)
    leader = Leader(kept.lease, own_name(), settings.lease_s, sole=kept.sole)
    deciding = kept.store.beside(kept.fenced(lambda: leader.epoch))
    by_kind: dict[ServerKind, Actuator] = {
        ServerKind.TRITON: TritonActuator(
            fleet,
            clock=clock,
            may_act=leader.may_act,
            answers=collector.ask_version,
            kept=StoredConfigs(deciding),
        ),
        ServerKind.OLLAMA: OllamaActuator(fleet, clock=clock, may_act=leader.may_act),
        ServerKind.VLLM: VllmActuator(fleet, read_token, clock=clock, may_act=leader.may_act),
    }
    replicas = _replica_actuator(fleet, collector, clock, leader.may_act)
    actuator: Actuator = ActuatorByKind(fleet, by_kind, clock=clock, scaler=replicas)
    if dry_run:
        actuator = DryRunActuator(actuator, clock=clock)
    actuator = RetryingActuator(actuator, registry, clock=clock, retries=settings.retries, may_act=leader.may_act)
    actuator = MeteredActuator(actuator, registry)

    async def refresh(server: str) -> None:
        # The executor needs the runner, and the runner owns the executor: bound late.
        await runner.refresh((server,))

    async def announce() -> None:
        await runner.announce()

    def picture() -> Picture:
        return runner.picture()

    found_by = tuple(_discoveries(fleet, prometheus, clock)) if discoveries is None else discoveries
    roster = Roster(fleet, found_by)
    told = settings.alerts.alertmanagers if settings.alerts.via is Via.DIRECT else ()
    notifier = Notifier(picture, [Alertmanager(url) for url in told], settings.alerts, clock)
    executor = Executor(actuator, deciding, clock, refresh=refresh, announce=announce, may_act=leader.may_act)

    def serves(model: str, gpu: str, piece: Slice) -> bool:
        return copy_serves(roster.fleet, collector.reading(clock()), settings.mig, model, gpu, piece)

    def of_term() -> StoreThread:
        epoch = leader.epoch  # as it is now, whoever leads later
        return kept.store.beside(kept.fenced(lambda: epoch))

    changer = None if dry_run else mig_changer(settings, clock, serves, leader.may_act, of_term)
    mig = MigPlanner(settings.mig, settings.prices, max_age_s=settings.policy.data_max_age_s, changer=changer)
    tick = Tick(
        roster=roster,
        policy=settings.policy,
        collector=collector,
        store=deciding,
        executor=executor,
        clock=clock,
        grace=grace,
        decide_s=settings.decide_interval_s,
        prices=settings.prices,
        leadership=leader.standing,
        mig=mig,
    )
    runner = Runner(
        roster=roster,
        collector=collector,
        actuator=actuator,
        executor=executor,
        tick=tick,
        store=deciding,
        clock=clock,
        scrape_s=settings.scrape_interval_s,
        decide_s=settings.decide_interval_s,
        ticked=notifier.ticked,
    )
    late_s = 3 * settings.decide_interval_s
    registry.register(PictureMetrics(runner.picture, late_s, settings.prices, posts=notifier.posts))
    # what people say is a row that whoever leads reads, so it is written without the fence
    said, reports = kept.store, kept.reports
    desk, slo = Desk(runner, said, reports, clock), SloDesk(runner, said, reports, clock)
    inbox = Inbox(runner, said, reports, clock, settings.alerts)
    annotator = None if grafana is None else Annotator(runner, grafana, Marks(clock(), settings.alerts))
    scaler = None if settings.keda is None else ExternalScaler(settings.keda, runner.picture, runner.changed, late_s)
    return ControlPlane(
        settings,
        desk,
        slo,
        inbox,
        notifier,
        annotator,
        scaler,
        registry,
        runner,
        leader,
        mig,
        said,
        reports,
        kept.unlock,
    )


def _check_found(fleet: Fleet) -> None:
    """Raises ConfigurationError where nothing finds the servers of a workload."""
    allowed, given = (
        "kubernetes or prometheus: only `controlplane decide` is told the servers",
        "nothing to find its servers by",
    )
    faults = tuple(Fault(f"workload {spec.name}", given, allowed) for spec in fleet.workloads if spec.query is None)
    if faults:
        raise ConfigurationError("configuration", faults)


def _replica_actuator(
    fleet: Fleet, collector: FleetCollector, clock: Clock, may_act: Callable[[], bool]
) -> Actuator | None:
    """What sets the replicas of workloads, None where none of them is ours to set."""
    if all(spec.replicas is None or not spec.names_object for spec in fleet.workloads):
        return None
    # its client takes long to import, and most have no use for it
    from controlplane.act.kubernetes.scaler import KubernetesScaler  # noqa: PLC0415

    worker = Worker("controlplane-kubernetes-scale")

    def loads(workload: str) -> Mapping[str, float]:
        return loads_of(collector.reading(clock()), workload)

    return KubernetesScaler(fleet, worker, clock=clock, loads=loads, may_act=may_act)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The database, opened: for what is written, for reports, and who leads. `sole`: no other process is on it."""

    store: StoreThread
    reports: StoreThread
    lease: Leases
    fenced: Callable[[Callable[[], int]], Store]
    sole: bool
    unlock: Callable[[], None]


def _open(url: str) -> _Kept:
    """Raises StoreError, StoreBusyError."""
    unlock = lock_file(url)
    try:
        store = open_store(url)
        try:
            reader = open_reader(url)
        except BaseException:
            store.close()
            raise
    except BaseException:
        unlock()
        raise
    thread = StoreThread(store)
    reports = thread if reader is None else StoreThread(reader, name="reports")
    return _Kept(thread, reports, store.lease, store.fenced, is_file(url), unlock)


def _grafana(settings: GrafanaSettings) -> Grafana:
    """The Grafana to mark what happens in. Raises PermanentError where its client is not installed."""
    try:
        from controlplane.publish.grafana.client import Grafana  # noqa: PLC0415 - an extra, and most have no use for it
    except ModuleNotFoundError as error:
        raise PermanentError(
            f"`grafana` of the configuration needs the extra [grafana]: {error.name} is missing"
        ) from None
    return Grafana(settings, read_token)


def _discoveries(fleet: Fleet, prometheus: Mapping[str, Prometheus], clock: Clock) -> Iterator[Discovery]:
    """What finds the servers of the fleet's workloads, one of each kind that is needed."""
    if any(isinstance(workload.query, TargetsQuery) for workload in fleet.workloads):
        yield PrometheusTargets(fleet.workloads, prometheus, clock=clock)
    if any(isinstance(workload.query, KubernetesQuery) for workload in fleet.workloads):
        # its client takes long to import, and most have no use for it
        from controlplane.collect.kubernetes.discovery import KubernetesDiscovery  # noqa: PLC0415

        yield KubernetesDiscovery(fleet.workloads, clock=clock, max_age_s=_UNWATCHED_S)
