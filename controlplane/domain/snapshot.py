"""The one value on which a decision rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.decision import Action, Outcome
from controlplane.domain.expected import Announced, Floor
from controlplane.domain.fleet import Fleet
from controlplane.domain.instructions import Freeze, Override, Want
from controlplane.domain.objectives import Judgement
from controlplane.domain.observation import FleetReading
from controlplane.domain.placing import Placement
from controlplane.domain.signal import Signal
from controlplane.domain.startups import Knob, StartupTimes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world at one tick: what is configured, seen, judged, said by people, under way and just finished.

    `results` are the outcomes since the last tick. `judgements` are by model. Overrides and freezes are those in force.
    `announced` are not over; `floors` are runs of schedules by model or workload, `startups` what is learned, by model.
    `placements` are by the gateway that routes by model, as newly as they are worked out.
    """

    fleet: Fleet
    reading: FleetReading
    judgements: Mapping[str, tuple[Judgement, ...]] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    wants: tuple[Want, ...] = ()
    in_flight: tuple[Action, ...] = ()
    results: tuple[Outcome, ...] = ()
    announced: tuple[Announced, ...] = ()
    floors: Mapping[str, tuple[Floor, ...]] = field(default_factory=dict)
    startups: Mapping[str, Mapping[Knob, StartupTimes]] = field(default_factory=dict)
    placements: Mapping[str, Signal[Placement]] = field(default_factory=dict)
