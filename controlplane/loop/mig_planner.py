"""Plans MIG layouts as a slow job: from the GPUs as they are read and the demand that was seen; and has them cut."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from controlplane.decide.mig.asked import Occupied
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rest import outdated
from controlplane.decide.mig.settings import MigSettings
from controlplane.decide.mig.still_out import still_out
from controlplane.decide.mig.values import MigQuestion
from controlplane.decide.mig.worth import BY_LABEL, BY_NVML, served_now
from controlplane.domain.decision import Decision
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Fleet, Mode
from controlplane.domain.layouts import LayoutPlan, LayoutStep, MigMemory, MigPicture
from controlplane.domain.observation import FleetReading
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.mig_bounds import full, lost
from controlplane.loop.mig_changer import MigChanger
from controlplane.loop.mig_needs import MigNeeds
from controlplane.loop.mig_resets import ResetWaits
from controlplane.loop.mig_seen import laid, occupied
from controlplane.loop.slow_job import SlowJob

_POLL_S = 0.05
_BETWEEN_S = 60.0
"""Between two plans it is looked so often whether a model that is short has free room."""


class MigPlanner:
    """The newest plan of layouts. Nothing here waits but `try_out` and `close`; `answer` plans in a worker process.

    What was `learned` of capacities, the `demand`, and for which `resets` GPUs wait, are the loop's to keep.
    """

    def __init__(
        self,
        settings: MigSettings | None,
        prices: Prices,
        *,
        max_age_s: float,
        answer: Callable[[MigAsk], LayoutPlan] = propose,
        changer: MigChanger | None = None,
    ) -> None:
        """`changer` carries out plans that pay, in mode ACT."""
        self._settings = settings
        wishes, dwell_s = ((), 0.0) if settings is None else (settings.models, settings.dwell_s)
        self._needs = MigNeeds(wishes, dwell_s, prices, max_age_s=max_age_s)
        self._changer = changer if settings is not None and settings.mode is Mode.ACT else None
        self._taken_at = self._ended_at = 0.0
        self._held = ""
        self._looked_at = -math.inf
        self._begins = True
        """No tick was since it rested: plans that were asked for before are of another time."""
        self._whole: Signal[LayoutPlan] = Missing("never asked")
        self._job = SlowJob("mig", answer, max_age_s=math.inf)
        self._tried = SlowJob("mig dry run", answer, max_age_s=math.inf)
        self._trying = asyncio.Lock()
        self._resets = ResetWaits()
        self._asked_at = -math.inf
        self._why = ""
        self._asked: dict[float, MigAsk] = {}
        """What the plans that may yet be begun were asked for, by when."""
        self._begun = MigMemory()
        """The last plan that was begun, with the GPUs that were out of service before it."""

    @property
    def learned(self) -> Mapping[str, float]:
        """Requests per second that a copy was seen to serve, as PolicyState keeps it."""
        return self._needs.learned

    @property
    def demand(self) -> Mapping[str, tuple[tuple[float, float], ...]]:
        """Times, and requests per second then, by model, from which the demand is held, as PolicyState keeps it."""
        return self._needs.kept_demand

    @property
    def resets(self) -> Mapping[str, tuple[str, float]]:
        """GPUs that wait for a reset, by UUID, as PolicyState keeps them."""
        return self._resets.kept

    def rest(self) -> None:
        """Another decides from here on: no further step is begun, and what was seen is forgotten."""
        if self._changer is not None:
            self._changer.halt()
        self._needs.forget_demand()
        self._asked_at, self._held = -math.inf, ""
        self._begins, self._begun = True, MigMemory()

    def resume(self, before: PolicyState, look: Callable[[], Snapshot], kept: MigMemory, now: float) -> None:
        """Go on as the one that decides, with what was learned and which demand held `before`, and `kept` of changes.

        `look` as in `tick`.
        """
        self._needs.take_over(before, now)
        if self._settings is not None:
            self._resets.take_over(before.slice_resets, self._settings.agents, now)
        self._begun = kept
        if self._changer is not None:
            self._changer.resume(look, kept)

    def tick(
        self,
        fleet: Fleet,
        reading: FleetReading,
        decisions: Sequence[Decision],
        now: float,
        look: Callable[[], Snapshot] | None = None,
    ) -> None:
        """Note demand and capacities of this tick, ask for a plan when one is due, and have one carried out that pays.

        `look` gives what is known and what people said at any later moment.
        """
        settings = self._settings
        if settings is None:
            return
        if self._begins:
            self._begins, self._whole = False, Missing("never asked")
            self._taken_at = math.nextafter(now, -math.inf)
        gpus = self._gpus(fleet, reading, now)
        self._needs.note(fleet, reading, gpus, decisions, now)
        if settings.mode is Mode.OBSERVE or not self._free(gpus, reading, settings, now, look):
            return
        due = now - self._asked_at >= settings.every_s
        if not due and (self._changer is None or now - self._looked_at < _BETWEEN_S):
            return
        asked = self._ask(gpus, settings, {}, now)
        self._why = asked.why if isinstance(asked, Missing) else ""
        self._looked_at = now
        if not isinstance(asked, Known) or not (due or _is_short(asked.value.question)):
            return
        if self._job.ask(replace(asked.value, between=not due), now):
            before = {
                signal.observed_at for signal in (self._newest(now), self._whole) if not isinstance(signal, Missing)
            }
            self._asked = {at: ask for at, ask in self._asked.items() if at in before} | {now: asked.value}
            self._asked_at = now if due else self._asked_at

    def picture(self, fleet: Fleet, reading: FleetReading, now: float) -> MigPicture:
        """Layouts now, and what was planned last."""
        settings, newest = self._settings, self._newest(now)
        gpus = self._gpus(fleet, reading, now)
        planned = newest.value if not isinstance(newest, Missing) else None
        shown = Known(laid(gpus, planned), now) if gpus or isinstance(reading.gpus, Known) else _without(reading)
        if settings is None:
            return MigPicture(gpus=shown)
        if isinstance(newest, Missing):
            newest = Missing(self._why or ("mig.mode is observe" if settings.mode is Mode.OBSERVE else newest.why))
        models = tuple(self._needs.models(gpus, planned, now))
        if self._changer is None:
            return MigPicture(settings.mode, shown, models, newest)
        changes, steps = dict(self._changer.ended_in), dict(self._changer.steps)
        return MigPicture(settings.mode, shown, models, newest, self._changer.change, self._held, changes, steps)

    async def try_out(self, fleet: Fleet, reading: FleetReading, demand: Mapping[str, float], now: float) -> MigPicture:
        """The picture with a plan for other demand of some models, which nobody keeps.

        Raises ConflictError where nothing can be planned, NotFoundError for a model that `mig` does not name.
        """
        settings = self._settings
        if settings is None:
            raise ConflictError("mig is not configured: name the models that are to have slices in `mig`")
        names = tuple(wish.name for wish in settings.models)
        for name in demand:
            if name not in names:
                raise NotFoundError("model of mig", name, names)
        gpus = self._gpus(fleet, reading, now)
        asked = self._ask(gpus, settings, demand, now)
        if not isinstance(asked, Known):
            raise ConflictError(asked.why if isinstance(asked, Missing) else "the reading is stale")
        async with self._trying:
            self._tried.ask(asked.value, now)
            while self._tried.busy:  # noqa: ASYNC110 - the worker's answer wakes nobody here
                await asyncio.sleep(_POLL_S)
            found = self._tried.newest(now)
            if self._tried.problem or not isinstance(found, Known):
                raise ConflictError(f"no plan was made: {self._tried.problem or 'the worker gave no answer'}")
        models = tuple(self._needs.models(gpus, found.value, now))
        return MigPicture(settings.mode, Known(laid(gpus, found.value), now), models, found)

    async def stop(self) -> None:
        """Begin no further step, and close."""
        if self._changer is not None:
            await self._changer.close()
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        self._job.close()
        self._tried.close()

    def _free(
        self,
        gpus: Sequence[Occupied],
        reading: FleetReading,
        settings: MigSettings,
        now: float,
        look: Callable[[], Snapshot] | None,
    ) -> bool:
        """Whether a plan may be asked for: no change is under way, and GPUs were read since the last one."""
        changer = self._changer
        if changer is None or look is None:
            return True
        if changer.resume_is_due(now):
            changer.resume(look)
        if changer.busy or not isinstance(reading.gpus, Known) or reading.gpus.observed_at <= changer.ended_at:
            return False
        if changer.ended_at != self._ended_at:
            self._ended_at, self._asked_at = changer.ended_at, -math.inf
        newest, self._held = self._newest(now), ""
        if isinstance(newest, Missing) or newest.observed_at <= max(self._taken_at, changer.ended_at):
            return True
        plan, ask = newest.value, self._asked.get(newest.observed_at)
        if ask is None or not (plan.pays and plan.steps):
            return True
        nodes = {one.gpu.reading.uuid: one.gpu.reading.node for one in gpus}
        stale = partial(self._outdated, ask, plan)
        self._held = changer.held(plan, nodes, look(), now) or self._full(ask, plan, gpus, settings)
        if not self._held and (why := stale(plan.steps)):
            self._held, self._asked_at = why, -math.inf
        if self._held:
            return True
        self._taken_at = newest.observed_at
        if not plan.between:
            self._begun = MigMemory(plan, ask.out | self._lost(gpus))
        changer.begin(plan, nodes, look, self._begun, stale)
        return False

    def _outdated(self, ask: MigAsk, plan: LayoutPlan, left: Sequence[LayoutStep]) -> str:
        return outdated(ask, plan, left, self._needs.demand)

    def _full(self, ask: MigAsk, plan: LayoutPlan, gpus: Sequence[Occupied], settings: MigSettings) -> str:
        """Why the plan may not take so many GPUs out of service; asked anew where others are by now than when asked."""
        lost = self._lost(gpus)
        why = full(plan, self._resets.uuids, lost, settings)
        if why and ask.waiting != len(self._resets.uuids | lost):
            self._asked_at = -math.inf
        return why

    def _lost(self, gpus: Sequence[Occupied]) -> frozenset[str]:
        return lost(gpus, self._begun, None if self._settings is None else self._settings.agents)

    def _gpus(self, fleet: Fleet, reading: FleetReading, now: float) -> tuple[Occupied, ...]:
        """With those left out that held the last change, or of which it is not known what they serve.

        Which wait for a reset is noted also while another decides.
        """
        gpus = occupied(fleet, reading, self._settings)
        self._resets.note(gpus)
        out = {**dict(self._needs.unknown(gpus)), **({} if self._changer is None else self._changer.left_out(now))}
        return tuple(replace(one, why=one.why or out.get(one.gpu.reading.uuid, "")) for one in gpus) if out else gpus

    def _newest(self, now: float) -> Signal[LayoutPlan]:
        """The newest plan; one between two that found nothing to do tells nothing."""
        newest = self._job.newest(now)
        if isinstance(newest, Missing) or not newest.value.between:
            self._whole = newest
        elif not newest.value.steps:
            return self._whole
        return newest

    def _ask(
        self, gpus: Sequence[Occupied], settings: MigSettings, given: Mapping[str, float], now: float
    ) -> Signal[MigAsk]:
        asked = self._needs.question(gpus, given)
        if not isinstance(asked, Known):
            return Missing(asked.why)
        pace, begun = BY_NVML if settings.operator is None else BY_LABEL, self._begun
        out = frozenset[str]() if begun.plan is None else still_out(begun.plan, begun.out, asked.value.gpus)
        waiting = len(self._resets.uuids | self._lost(gpus))
        ask = MigAsk(asked.value, settings.dwell_s, pace, max_share=settings.max_share, waiting=waiting, out=out)
        if self._changer is not None:
            copies = self._changer.copies
            ask = replace(ask, resting=copies.resting(now), behind=copies.models(now))
        return Known(ask, now)


def _is_short(question: MigQuestion) -> bool:
    served = served_now(question)
    return any(model.demand > served[model.name] * (1 + 1e-6) for model in question.models)


def _without(reading: FleetReading) -> Missing:
    return Missing(reading.gpus.why if isinstance(reading.gpus, Missing) else "GPUs were not read of late")
