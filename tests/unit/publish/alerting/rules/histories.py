"""Made-up histories of an objective: what its counters tell step by step, and what slo/alerts makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controlplane.config.settings import Settings
from controlplane.domain import names
from controlplane.domain.alerts import AlertState, Severity
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.routing import AlertSettings
from controlplane.slo.alerts import AlertPolicy, judge_alerts

MINUTE_S = 60
DAY_S = 86400.0
STRICT = Objective(Indicator.AVAILABILITY, 0.99, 28 * DAY_S, IndicatorSource.SERVER)
LOOSE = Objective(Indicator.LATENCY, 0.9, 28 * DAY_S, IndicatorSource.MEAN_SLICES, threshold_s=0.1)
"""Its usual factors could never be reached."""


def settings_of(objectives: Mapping[str, Sequence[Objective]], alerts: AlertSettings | None = None) -> Settings:
    """A Triton with models that have these objectives."""
    server = ServerSpec("t0", ServerKind.TRITON, "http://t0:8000", "http://t0:8002/metrics")
    models = tuple(ModelSpec(name, name, ("t0",), Mode.RECOMMEND, tuple(of)) for name, of in objectives.items())
    return Settings(Fleet((server,), models), "sqlite:///unused.db", alerts=alerts or AlertSettings())


@dataclass(frozen=True)
class Spell:
    """So many steps of which each counts the same. `measured`: share of it that was; `dead`: nobody is scraped."""

    steps: int
    good: int = 0
    bad: int = 0
    measured: float = 1.0
    dead: bool = False
    restart: bool = False
    """The control plane begins anew: of the first step its counters tell 0."""


@dataclass
class History:
    """What happened to an objective, and from when to when its alert is to fire: [since, until) steps."""

    name: str
    spells: Sequence[Spell]
    firing: Sequence[tuple[int, int]] = ()
    objective: Objective = STRICT
    totals: list[Counts] = field(init=False)
    """What was counted until each step, from before the first; times in steps."""

    def __post_init__(self) -> None:
        total = Counts()
        self.totals = [total]
        for spell in self._each():
            if not spell.dead and not spell.restart:
                of_step = Counts(spell.good, spell.bad, measured_s=spell.measured, expected_s=1.0)
                total += of_step
            self.totals.append(total)

    def __len__(self) -> int:
        return len(self.totals)

    def _each(self) -> list[Spell]:
        return [replace(spell, restart=spell.restart and at == 0) for spell in self.spells for at in range(spell.steps)]

    def lasting(self, steps: int) -> History:
        """The same, and nobody is scraped thereafter."""
        return replace(self, spells=(*self.spells, Spell(steps - len(self), dead=True)))

    def series(self, model: str) -> dict[str, list[float | None]]:
        """What is scraped at each step, of processes that export 0 from their start on."""
        labels = f'{names.MODEL}="{model}",{names.OBJECTIVE}="{self.objective.key}"'
        columns: dict[str, Callable[[Counts], float]] = {
            f'{names.OBJECTIVE_EVENTS}_total{{{labels},{names.RESULT}="good"}}': lambda c: c.good,
            f'{names.OBJECTIVE_EVENTS}_total{{{labels},{names.RESULT}="bad"}}': lambda c: c.bad,
            f"{names.OBJECTIVE_MEASURED_S}_total{{{labels}}}": lambda c: c.measured_s,
            f"{names.OBJECTIVE_EXPECTED_S}_total{{{labels}}}": lambda c: c.expected_s,
        }
        found: dict[str, list[float | None]] = {name: [0.0] for name in columns}
        base = Counts()
        for at, spell in enumerate(self._each(), 1):
            if spell.restart:
                base = self.totals[at]
            for name, column in columns.items():
                found[name].append(None if spell.dead else column(self.totals[at]) - column(base))
        return found

    def judged(self, severity: Severity, step_s: int) -> list[bool]:
        """Whether slo/alerts says at each step that the alert of a severity fires."""
        states: dict[Severity, AlertState] = {}
        found = []
        for at in range(len(self)):

            def ask(window_s: float, at: int = at) -> Counts:
                before, now = self.totals[max(0, at - round(window_s / step_s))], self.totals[at]
                return Counts(
                    now.good - before.good,
                    now.bad - before.bad,
                    0,
                    now.measured_s - before.measured_s,
                    now.expected_s - before.expected_s,
                )

            alerts, states = judge_alerts("", self.objective, ask, states, AlertPolicy(), float(at * step_s), 60.0)
            found.append(next(alert.firing for alert in alerts if alert.severity is severity))
        return found


LEAD = (Spell(1, good=30000), Spell(60, good=100))
"""Six hours of a hundred events a minute, those of the first five at once. It leaves 61 steps."""

HISTORIES = (
    History("nothing is wrong", [*LEAD, Spell(30, good=100)]),
    History("idle", [*LEAD, Spell(90)]),
    History("eight minutes of errors are not enough of an hour", [*LEAD, Spell(8, bad=100), Spell(60, good=100)]),
    History(
        "nine minutes of errors are, and it ends two minutes after five good ones",
        [*LEAD, Spell(9, bad=100), Spell(60, good=100)],
        firing=[(70, 77)],
    ),
    History("just below the slow factor, for ever", [Spell(120, good=1890, bad=110)]),
    History(
        "just above the slow factor: from when on enough events speak for it",
        [Spell(30, good=1880, bad=120)],
        firing=[(5, 31)],
    ),
    History(
        "errors are long over in the short window",
        [*LEAD, Spell(30, good=70, bad=30), Spell(60, good=100)],
        firing=[(90, 96)],
    ),
    History(
        "errors fall to just below the factor: it goes on until they are clearly below it",
        [Spell(10, good=1000), Spell(60, good=800, bad=200), Spell(80, good=948, bad=52), Spell(20, good=1000)],
        firing=[(15, 153)],
    ),
    History("one failure in a quiet hour", [*LEAD, Spell(60), Spell(1, good=4), Spell(1, bad=1), Spell(30)]),
    History(
        "three failures of 25 requests are too few for so high a share",
        [Spell(10), Spell(1, good=22, bad=3), Spell(40)],
    ),
    History(
        "three failures of three requests are enough",
        [Spell(10), Spell(1, bad=3), Spell(40)],
        firing=[(11, 43)],
    ),
    History(
        "the source of the metrics dies: what fires is held until it was measured again",
        [*LEAD, Spell(30, bad=100), Spell(40, measured=0.0), Spell(20, good=100)],
        firing=[(70, 136)],
    ),
    History(
        "the source of the metrics dies: nothing begins",
        [*LEAD, Spell(60, bad=100, measured=0.25), Spell(10, measured=0.0)],
    ),
    History(
        "the control plane dies while it fires: it is held until it was measured again",
        [*LEAD, Spell(30, bad=100), Spell(40, dead=True), Spell(20, good=100, restart=True)],
        firing=[(70, 135)],
    ),
    History(
        "the control plane dies while nothing fires: nothing begins", [*LEAD, Spell(7, bad=100), Spell(40, dead=True)]
    ),
    History(
        "a restart in the midst of errors loses what came before the first scrape, and no more",
        [*LEAD, Spell(6, bad=100), Spell(20, bad=100, restart=True), Spell(40, good=100)],
        firing=[(71, 118)],
    ),
    History(
        "at 90 % all of it bad reaches the factor that stands in",
        [*LEAD, Spell(60, bad=100)],
        firing=[(110, 122)],
        objective=LOOSE,
    ),
)
"""Of pages, in steps of a minute."""

TICKETS = (
    History(
        "two in a hundred for hours",
        [Spell(1, good=10000), Spell(90, good=1000), Spell(120, good=980, bad=20), Spell(60, good=1000)],
        firing=[(199, 259)],
    ),
    History(
        "twenty in a hundred for hours, after days with many events",
        [Spell(1, good=5_000_000), Spell(330, good=100), Spell(60, good=80, bad=20), Spell(40, good=100)],
        firing=[(384, 419)],
    ),
    History("just below", [Spell(200, good=9901, bad=99)]),
    History(
        "one failure in a quiet day", [Spell(1, good=1000), Spell(361), Spell(1, good=1), Spell(1, bad=1), Spell(40)]
    ),
    History(
        "nothing is measured: what fires is held until little of six hours was bad",
        [Spell(10, good=1000), Spell(40, good=940, bad=60), Spell(40, measured=0.0), Spell(50, good=1000)],
        firing=[(13, 134)],
    ),
    History(
        "nothing is measured: nothing begins",
        [Spell(60, good=1000), Spell(30, measured=0.0), Spell(30, bad=100, measured=0.2)],
    ),
)
"""Of tickets, in steps of four minutes."""
