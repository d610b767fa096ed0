"""A simulated fleet whose GPUs are cut and whose copies start and stop, and how much of the demand it serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from controlplane.decide.mig import Act, Board, Gpu, MigModel, MigPlan, MigQuestion, Place, Slice
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.worth import Pace


@dataclass(slots=True)
class Copy:
    """A copy of a model on a slice: it answers from `ready_at` to `gone_at`."""

    model: str
    place: Place
    per_s: float
    ready_at: float
    gone_at: float = float("inf")


@dataclass(slots=True)
class Ledger:
    """What is counted. `interrupted`: copies that were stopped though their model was short then."""

    asked: float = 0.0
    served: float = 0.0
    gpu_s: float = 0.0
    created: int = 0
    destroyed: int = 0
    interrupted: int = 0
    gpu_changes: int = 0
    cutting_s: float = 0.0


@dataclass(slots=True)
class Fleet:
    """GPUs of one board. `pace`: how long changes take; where they clear the whole GPU, all on it is away meanwhile."""

    board: Board
    layouts: dict[str, set[Slice]]
    models: Mapping[str, MigModel]
    pace: Pace
    copies: list[Copy] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    busy_until: float = 0.0

    def gpus(self, now: float) -> tuple[Gpu, ...]:
        """As the planner takes them; copies that are going are gone."""
        on: dict[str, dict[Slice, tuple[str, ...]]] = {}
        for copy in self.here(now):
            on.setdefault(copy.place.uuid, {})[copy.place.piece] = (copy.model,)
        return tuple(
            Gpu(uuid, self.board, tuple(sorted(layout)), 1.0, on.get(uuid, {})) for uuid, layout in self.layouts.items()
        )

    def here(self, now: float) -> list[Copy]:
        """Copies that are not going."""
        return [copy for copy in self.copies if copy.gone_at > now]

    def capacity(self, model: str, now: float) -> float:
        """Of copies that are there or start."""
        return sum(copy.per_s for copy in self.here(now) if copy.model == model)

    def start(self, model: str, place: Place, now: float) -> None:
        """Start a copy; its slice is cut where it is not there."""
        at = self._cut({place.uuid: (1, 0)}, now) if place.piece not in self.layouts[place.uuid] else now
        self.layouts[place.uuid].add(place.piece)
        per_s = capacity_on(self.models[model], self.board, place.piece.profile)
        self.copies.append(Copy(model, place, per_s, at + self.pace.start_s))

    def stop(self, copy: Copy, now: float, *, destroy: bool) -> None:
        """Take a copy away, and its slice with it."""
        copy.gone_at = now
        if destroy:
            self.drop((copy.place,), now)

    def drop(self, places: Iterable[Place], now: float) -> None:
        """Destroy slices on which nothing runs."""
        for place in places:
            self.layouts[place.uuid].discard(place.piece)
            self._cut({place.uuid: (0, 1)}, now)

    def carry_out(self, plan: MigPlan, now: float) -> None:
        """All steps, wave by wave. Where changes clear a whole GPU, its copies start anew after its last change."""
        at = now
        for wave in sorted({step.wave for step in plan.steps}):
            steps = [step for step in plan.steps if step.wave == wave]
            per_gpu: dict[str, tuple[int, int]] = {}
            for step in steps:
                if step.act in {Act.CREATE, Act.DESTROY}:
                    made, gone = per_gpu.get(step.place.uuid, (0, 0))
                    per_gpu[step.place.uuid] = (made + (step.act is Act.CREATE), gone + (step.act is Act.DESTROY))
                    layout = self.layouts[step.place.uuid]
                    (layout.add if step.act is Act.CREATE else layout.discard)(step.place.piece)
                elif step.act is Act.START:
                    per_s = capacity_on(self.models[step.model], self.board, step.place.piece.profile)
                    self.copies.append(Copy(step.model, step.place, per_s, at + self.pace.start_s))
                else:
                    self.ledger.interrupted += step.interrupts
                    for copy in self.here(at):
                        if (copy.model, copy.place) == (step.model, step.place):
                            copy.gone_at = at
            done = self._cut(per_gpu, at) if per_gpu else at
            acts = {step.act for step in steps}
            at = done + (self.pace.start_s if Act.START in acts else self.pace.drain_s if Act.DRAIN in acts else 0.0)
        self.busy_until = at

    def count(self, demand: Mapping[str, float], start: float, end: float) -> None:
        """Serve a constant demand for a while."""
        moments = {start, end, *(m for c in self.copies for m in (c.ready_at, c.gone_at) if start < m < end)}
        edges = sorted(moments)
        for left, right in pairwise(edges):
            for model, per_s in demand.items():
                able = sum(c.per_s for c in self.copies if c.model == model and c.ready_at <= left < c.gone_at)
                self.ledger.served += min(per_s, able) * (right - left)
                self.ledger.asked += per_s * (right - left)
            self.ledger.gpu_s += len({c.place.uuid for c in self.copies if c.gone_at > left}) * (right - left)
        self.copies = [copy for copy in self.copies if copy.gone_at > end]

    def _cut(self, changes: Mapping[str, tuple[int, int]], now: float) -> float:
        """When slices are created and destroyed, by GPU; what that clears starts anew."""
        took_s = 0.0
        for uuid, (made, gone) in changes.items():
            one_s = made * self.pace.create_s + gone * self.pace.destroy_s + self.pace.gpu_s
            self.ledger.created += made
            self.ledger.destroyed += gone
            self.ledger.gpu_changes += 1
            self.ledger.cutting_s += one_s
            took_s = max(took_s, one_s)
            if self.pace.whole_gpu:
                for copy in self.here(now):
                    if copy.place.uuid == uuid:
                        self.ledger.interrupted += copy.ready_at <= now
                        copy.ready_at = now + one_s + self.pace.start_s
        return now + took_s


def question(fleet: Fleet, wanted: Mapping[str, float], now: float) -> MigQuestion:
    """What the planner is asked."""
    models: Sequence[MigModel] = [
        MigModel(m.name, wanted[m.name], m.profiles, m.min_memory_gib) for m in fleet.models.values()
    ]
    return MigQuestion(fleet.gpus(now), tuple(models))
