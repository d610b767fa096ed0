"""One Triton: asked over HTTP, remembered as what it serves and what it did."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from controlplane.collect.counters import Executions, Ledger, Reading, executions_fell, failures_fell, fell
from controlplane.collect.http import Pages, was_refused
from controlplane.collect.kept import forget_before
from controlplane.collect.metrics_source import MetricsSource
from controlplane.collect.own_requests import OwnRequests
from controlplane.collect.triton.detail import REFUSED as REFUSED_UNCOUNTED
from controlplane.collect.triton.detail import UnitDetails
from controlplane.collect.triton.retiring import Retiring
from controlplane.collect.triton.round import TritonRound, fetch_round
from controlplane.collect.triton.wire import IndexEntry, ModelConfig, ModelSeries, largest_batch, version_of
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.fleet import ModelSpec, ServerSpec
from controlplane.domain.observation import (
    NOT_EXPORTED,
    ControlMode,
    HostReading,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.signal import Known, Missing, Signal, aged

NOT_ASKED = Missing("not asked")
CONFIG_EVERY_S = 30.0
"""A configuration is read again after this long, where nothing tells that it is another one."""
FAILURES_KEPT = 5
_GONE = frozenset({ModelState.UNLOADED, ModelState.ABSENT, ModelState.UNAVAILABLE})


class TritonUnit:
    """One model on one Triton: state, configuration, and what happened with it."""

    def __init__(self, model: ModelSpec, server: str) -> None:
        self.model = model
        self._server = server
        self.ledger = Ledger(version_of, if_several=not model.by_version)
        self.own_requests = OwnRequests()
        self.failures: deque[str] = deque(maxlen=FAILURES_KEPT)
        self.intervals: deque[Interval] = deque()
        self.details = UnitDetails()
        self.entry: IndexEntry | None = None
        self._entry_at = 0.0
        self._config: ModelConfig | None = None
        self._config_at: float | None = None
        self._config_turn: float | None = None
        # Servers that are read together take turns.
        self._phase_s = zlib.crc32(server.encode()) % CONFIG_EVERY_S
        self._pending: Signal[int] = Missing("never read")
        self._uncounted = ""
        self._largest_batch = 0
        self._retiring = Retiring()

    def forget_instances(self) -> None:
        """The server has restarted: how many instances there are has to be read again."""
        self._config_at = None

    def absorb_index(self, at: float, entry: IndexEntry, config: ModelConfig | ControlPlaneError | None) -> None:
        """What the index says, and the configuration where it was read."""
        self.entry, self._entry_at = entry, at
        if entry.state is not ModelState.READY:
            self._config_at = None
        elif isinstance(config, ModelConfig):
            self._config, self._config_at, self._config_turn = config, at, self._turn(at)

    def doubt_config(self) -> None:
        """The configuration is due: somebody may have changed it."""
        self._config_turn = None

    def config_due(
        self, at: float, entry: IndexEntry, series: ModelSeries | None, executions: Executions | None
    ) -> bool:
        """Whether the configuration may be another than the one known.

        A load shows in the index or makes the counters or the statistics begin anew. A change of nothing but instances
        shows nowhere, so that from time to time it is simply read again.
        """
        if self._config_at is None or self._config_turn != self._turn(at) or entry != self.entry:
            return True
        if self.ledger.base is None or series is None:
            return False
        now = Reading(at, series.groups, series.failures, executions=executions)
        return fell(self.ledger.base, now) or executions_fell(self.ledger.base, now)

    def _turn(self, at: float) -> float:
        return (at + self._phase_s) // CONFIG_EVERY_S

    def absorb_series(
        self, at: float, series: ModelSeries | None, executions: Executions | None, why: str, *, together: bool
    ) -> None:
        """The counters of a metrics page that was read: `series` None, the model is not on it. `why` else missing.

        `together`: the statistics were read at the same moment, so that the two can be compared.
        """
        reading = self._reading(at, series, executions)
        if reading is None:
            self.missed(at, why)
            return
        if together and self.ledger.stands_still(reading):
            self.missed(at, "the metrics page stands still while the statistics go on")
            return
        self._uncounted = ""
        self.details.seen(at, series.details if series and reading.instances else None)
        unloaded = Missing("not loaded: nothing is counted")
        self._pending = unloaded if not reading.groups or reading.pending is None else Known(reading.pending, at)
        interval = self.ledger.seen(reading)
        if interval is None or not interval.instances:
            self.own_requests.expire(at)
        else:
            self.intervals.append(self.own_requests.settle(interval))

    def missed(self, at: float, why: str, *, refused: bool = False) -> None:
        """Counters could not be read; `refused`: nobody listened."""
        self.ledger.missed(at, refused=refused)
        if refused:
            self.own_requests.forget()
        self.details.missed(at, why)
        self._uncounted = why
        if isinstance(self._pending, Missing):
            self._pending = Missing(why)

    def reading(self, now: float, max_age_s: float, why: str) -> Signal[ModelReading]:
        """All that is known of the model at `now`."""
        if self.entry is None:
            return Missing(why or "never read")
        config = self._config
        reading = ModelReading(
            state=self.entry.state,
            reason=self.entry.reason,
            instances=self._instances(self.entry.state, now, max_age_s),
            pending=aged(self._pending, now, max_age_s, self._uncounted),
            intervals=tuple(self.intervals),
            recent_failures=tuple(self.failures),
            instances_per_step=config.instances_per_step if config else 1,
            max_batch_size=config.max_batch_size if config else 0,
            dynamic_batching=config.dynamic_batching if config else False,
            max_queue_delay_s=config.max_queue_delay_s if config else 0.0,
            preferred_batch_sizes=config.preferred_batch_sizes if config else (),
            other_scheduler=config.other_scheduler if config else False,
            versions=self.entry.versions,
            components=config.components if config else (),
            gpus=tuple(f"{self._server}/{index}" for index in config.gpus) if config else (),
            gpu_uuids=self.details.gpu_uuids,
            refused=REFUSED_UNCOUNTED,
            load_s=self.details.load_s(now, max_age_s),
            counters=self.details.counters(now, max_age_s),
        )
        return aged(Known(reading, self._entry_at), now, max_age_s, why)

    def _counting(self) -> int | None:
        """Instances behind the counters of the page; None when unknown.

        An unloading model still answers what it has. The series of an unloaded one stay for good when its backend died
        with requests in its hands (Triton never gets those back): they count nothing until the next load.
        """
        if self.entry is not None and self.entry.state in _GONE:
            return 0
        leaving = self.entry is not None and self.entry.state is ModelState.UNLOADING
        return self._config.instances if self._config and (leaving or self._config_at is not None) else None

    def _reading(self, at: float, series: ModelSeries | None, executions: Executions | None) -> Reading | None:
        """The counters as one reading; None when they are not whole or contradict the index."""
        failures = series.failures if series else {}
        if series is None or not series.groups:
            # A loaded model is on the page: where it is not, the page is not whole, or is older than the index.
            loaded = self.entry is None or self.entry.state is ModelState.READY
            return (
                None
                if loaded or (series and not series.complete)
                else Reading(at, {}, failures, pending=0, running_max=0, running=0)
            )
        instances = self._counting()
        if not series.complete or series.pending is None or instances is None or self._config is None:
            return None
        if executions is not None:
            self._largest_batch = largest_batch(executions)
        most = max(1, self._config.max_batch_size)
        reading = Reading(
            at,
            series.groups,
            failures,
            series.pending,
            instances,
            executions=executions,
            running_seen_max=instances * (self._largest_batch or most),
        )
        reloaded = self.ledger.base is not None and executions_fell(self.ledger.base, reading)
        return replace(reading, running_max=most * self._retiring.executing(at, instances, reloaded=reloaded))

    def _instances(self, state: ModelState, now: float, max_age_s: float) -> Signal[int]:
        if state in _GONE:
            return aged(Known(0, self._entry_at), now, max_age_s)
        if self._config is None or self._config_at is None:
            return Missing(f"the model is {state}" if state is not ModelState.READY else "configuration not read")
        return aged(Known(self._config.instances, self._config_at), now, CONFIG_EVERY_S + max_age_s)


class TritonServer:
    """One Triton: its models, whether it answers, and how often it has restarted."""

    def __init__(
        self, spec: ServerSpec, models: Sequence[ModelSpec], source: MetricsSource, *, max_age_s: float, keep_s: float
    ) -> None:
        self.spec = spec
        self._source = source
        self.units = {model.name: TritonUnit(model, spec.name) for model in models}
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._live: Signal[bool] = Missing("never read")
        self._why = self._problem = ""
        self._control: Signal[ControlMode] = NOT_ASKED
        self._incarnation = 0
        self._host: Signal[HostReading] = Missing("never read")
        self._gone = False
        self._index_of = self._series_of = -1
        """Incarnations from which the newest index and the newest counters are; -1: none read yet."""
        self._counted_at = -math.inf

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives the first thing that went wrong. Never raises for a failing server."""
        names = frozenset(unit.model.served_name for unit in self.units.values())
        answers = await fetch_round(pages, self._source, self.spec, names, self._configs_due, timeout_s, clock)
        self.absorb(answers)
        parts = (answers.index, answers.series, answers.stats, *answers.configs.values())
        return next((part for part in parts if isinstance(part, ControlPlaneError)), None)

    def doubt_configs(self) -> None:
        """Read all configurations in the next round: something was done to the server, or somebody knows more."""
        for unit in self.units.values():
            unit.doubt_config()

    def _configs_due(self, answers: TritonRound) -> set[str]:
        """Ready models whose configuration is to be read."""
        if isinstance(answers.index, ControlPlaneError):
            return set()
        series = {} if isinstance(answers.series, ControlPlaneError) else answers.series
        stats = {} if isinstance(answers.stats, ControlPlaneError) else answers.stats
        anew, due = self._restarted(answers), set()
        for unit in self.units.values():
            name = unit.model.served_name
            entry = answers.index.get(name)
            if entry is None or entry.state is not ModelState.READY:
                continue
            if anew or unit.config_due(answers.at, entry, series.get(name), stats.get(name)):
                due.add(name)
        return due

    def absorb(self, answers: TritonRound) -> None:
        """Take in the answers of one round."""
        index, series = answers.index, answers.series
        self._note_liveness(answers)
        if self._restarted(answers):
            self._incarnation, self._gone = self._incarnation + 1, False
            self._control = NOT_ASKED
            for unit in self.units.values():
                unit.forget_instances()
        if not isinstance(index, ControlPlaneError):
            self._index_of, self._gone = self._incarnation, False
            for unit in self.units.values():
                name = unit.model.served_name
                unit.absorb_index(answers.at, index.get(name, IndexEntry(ModelState.ABSENT)), answers.configs.get(name))
        for unit in self.units.values():
            self._count(unit, answers)
        if not isinstance(series, ControlPlaneError) and answers.counted_at > self._counted_at:
            self._series_of, self._counted_at = self._incarnation, answers.counted_at
            self._host = Known(answers.host, answers.counted_at) if answers.host else NOT_EXPORTED

    def set_control(self, mode: Signal[ControlMode]) -> None:
        """Keep the model-control mode until the server restarts or stops answering."""
        self._control = mode

    def ready(self, model: str) -> bool:
        """Whether the model was ready at the newest index, and the server answered in the newest round."""
        entry = self.units[model].entry
        live = isinstance(self._live, Known) and self._live.value
        return live and entry is not None and entry.state is ModelState.READY

    def reading(self, now: float) -> ServerReading:
        """All that is known of the server at `now`."""
        for unit in self.units.values():
            forget_before(now - self._keep_s, unit.intervals)
            forget_before(now - self._keep_s, unit.details.latencies)
        return ServerReading(
            name=self.spec.name,
            live=aged(self._live, now, self._max_age_s, self._why),
            control=self._control,
            incarnation=self._incarnation,
            models={name: unit.reading(now, self._max_age_s, self._why) for name, unit in self.units.items()},
            host=aged(self._host, now, self._max_age_s, self._why),
            problem=self._problem,
        )

    def latencies(self) -> Mapping[str, Sequence[LatencyInterval]]:
        """Histogram intervals by model, of those that have a histogram."""
        return {name: unit.details.latencies for name, unit in self.units.items() if unit.details.latencies}

    def _note_liveness(self, answers: TritonRound) -> None:
        index, series = answers.index, answers.series
        self._why = str(index) if isinstance(index, ControlPlaneError) else ""
        self._problem = self._why or (str(series) if isinstance(series, ControlPlaneError) else "")
        live = not (isinstance(index, ControlPlaneError) and isinstance(series, ControlPlaneError))
        only_counted = live and isinstance(index, ControlPlaneError)
        self._live = Known(live, answers.counted_at if only_counted else answers.at)
        if not live:
            self._control = NOT_ASKED
        if was_refused(index) and self._index_of >= 0:
            self._gone = True

    def _count(self, unit: TritonUnit, answers: TritonRound) -> None:
        if isinstance(answers.series, ControlPlaneError):
            unit.missed(answers.at, str(answers.series), refused=was_refused(answers.series))
            return
        if answers.counted_at <= self._counted_at:
            return  # told before
        name = unit.model.served_name
        executions = None if isinstance(answers.stats, ControlPlaneError) else answers.stats.get(name)
        why = f"{self.spec.name} metrics page: not every counter of {name} is there"
        together = answers.series_at is None
        unit.absorb_series(answers.counted_at, answers.series.get(name), executions, why, together=together)

    def _restarted(self, answers: TritonRound) -> bool:
        """Whether the process is another than in the newest round that counted.

        Evidence: nobody listened in between; a model that had been touched no longer is; failure counters (which
        survive everything else) went down; all counters that were not zero went down, which the unloading and loading
        of every loaded model would also do: harmless, since a restart only makes things be asked again.
        """
        index, series = answers.index, answers.series
        if not isinstance(index, ControlPlaneError):
            if self._gone:
                return True
            untouched = IndexEntry(ModelState.UNLOADED)
            if self._index_of == self._incarnation and any(
                unit.entry and unit.entry.touched and not index.get(unit.model.served_name, untouched).touched
                for unit in self.units.values()
            ):
                return True
        if isinstance(series, ControlPlaneError) or self._series_of != self._incarnation:
            return False
        began_anew: list[bool] = []
        for unit in self.units.values():
            base, now = unit.ledger.base, series.get(unit.model.served_name)
            if base is None or (now is not None and not now.complete):
                continue
            after = Reading(answers.counted_at, now.groups if now else {}, now.failures if now else {})
            if failures_fell(base, after):
                return True
            if after.groups and any(totals.success for totals in base.groups.values()):
                began_anew.append(fell(base, after))
        return bool(began_anew) and all(began_anew)
