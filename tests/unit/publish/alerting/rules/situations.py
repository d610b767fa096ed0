"""What is wrong, or nearly, with all but burn rates: what is scraped minute by minute, and which alert fires when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain import names
from controlplane.domain.conditions import AlertName
from controlplane.publish.alerting.catalogue import BY_NAME, AlertText
from controlplane.publish.alerting.rules.states import CONDITIONS
from tests.unit.publish.alerting.rules.promtool import Block, Fires

Samples = Sequence[float | None]
TICKS = f"{names.TICKS}_total"
OF = {names.MODEL: "bert", names.OBJECTIVE: "availability_server"}
_CONDITIONS = {text.alert for text in CONDITIONS}
_OF = f'{{{names.MODEL}="bert",{names.OBJECTIVE}="availability_server"}}'


@dataclass(frozen=True)
class Situation:
    """`firing`: minutes in which it fires, [since, until)."""

    alert: AlertName
    name: str
    series: Mapping[str, Samples]
    firing: Sequence[tuple[int, int]] = ()
    labels: Mapping[str, str] | None = None

    def fires(self) -> Fires:
        """By minute."""
        steps = max(len(samples) for samples in self.series.values())
        labels = {names.SEVERITY: BY_NAME[self.alert].severity.value, **(self.labels or {})}
        return {
            step: [labels] if any(since <= step < until for since, until in self.firing) else []
            for step in range(steps)
        }


def blocks() -> Iterator[Block]:
    """All situations; those of conditions that have a name in common at once."""
    by_name: dict[str, list[Situation]] = {}
    for situation in situations():
        key = situation.name if situation.alert in _CONDITIONS else f"{situation.alert.value}: {situation.name}"
        by_name.setdefault(key, []).append(situation)
    for name, told in by_name.items():
        series: dict[str, Samples] = {}
        for situation in told:
            assert all(series.get(key, samples) == samples for key, samples in situation.series.items())
            series |= situation.series
        yield Block(name, series, {situation.alert: situation.fires() for situation in told})


def counting(steps: int, each: float = 1.0, start: float = 0.0) -> list[float]:
    """A counter."""
    return [start + each * at for at in range(steps)]


def gone(steps: int) -> list[None]:
    """Nobody is scraped."""
    return [None] * steps


_KEPT = 2
"""Minutes for which an alert goes on once it was clear."""
_LABEL_VALUES = {
    names.MODEL: "bert",
    names.SERVER: "triton-0",
    names.NODE: "node-1",
    names.GPU: "GPU-1",
    names.KIND: "load",
    names.CAUSE: "timeout",
}


def of_condition(text: AlertText) -> list[Situation]:
    """For twenty minutes, then for fifteen, in the midst of which the control plane dies for ten."""
    labels = {name: value for name, value in _LABEL_VALUES.items() if name in text.labels}
    held_s = round(text.for_s / 60)
    alive = [*counting(65, 4), *gone(10), *counting(15, 4)]
    on = [*gone(5), *[1.0] * 20, *gone(25), *[1.0] * 15, *gone(25)]
    condition = series_of(text.alert.value, labels)
    return [
        Situation(
            text.alert,
            "fires, ends, and is held while nobody tells",
            {TICKS: alive, condition: on},
            [(5 + held_s, 25 + _KEPT), (50 + held_s, 75 + _KEPT)],
            labels,
        ),
        Situation(
            text.alert,
            "something else is wrong, and nobody tells of anything thereafter",
            {TICKS: [*counting(30, 4), *gone(10)], series_of("SomethingElse", {}): [*[1.0] * 30, *gone(10)]},
        ),
        *(
            [
                Situation(
                    text.alert,
                    "not for long enough",
                    {TICKS: counting(30, 4), condition: [*[1.0] * held_s, *gone(10)]},
                )
            ]
            if held_s
            else []
        ),
        *(
            [
                Situation(
                    text.alert,
                    "for hours",
                    {TICKS: counting(held_s + 15, 4), condition: [*[1.0] * (held_s + 5), *gone(10)]},
                    [(held_s, held_s + 5 + _KEPT)],
                    labels,
                )
            ]
            if held_s > 20
            else []
        ),
    ]


def series_of(alert: str, labels: Mapping[str, str]) -> str:
    """A condition as it is exported."""
    told = (f'{name}="{value}"' for name, value in {names.ALERT: alert, **labels}.items())
    return f"{names.CONDITION}{{{','.join(told)}}}"


def _flag(alert: AlertName, gauge: str, bad: float) -> list[Situation]:
    """A gauge that says it, held while nobody tells."""
    held = round(BY_NAME[alert].for_s / 60)
    well = 1.0 - bad
    return [
        Situation(
            alert,
            "fires, ends, and is held while nobody tells",
            {
                TICKS: [*counting(30, 4), *gone(10), *counting(10, 4)],
                gauge: [*[well] * 5, *[bad] * 10, *[well] * 10, *[bad] * 5, *gone(10), *[well] * 10],
            },
            [(5 + held, 15 + _KEPT), (25 + held, 40 + _KEPT)],
        ),
        Situation(alert, "all is well, then nobody tells", {TICKS: counting(10, 4), gauge: [*[well] * 10, *gone(10)]}),
    ]


def _late() -> list[Situation]:
    alert = AlertName.CONTROL_PLANE_LATE
    interval = {names.TICK_INTERVAL: [20.0] * 40}
    on_time = counting(40, 60)
    return [
        Situation(
            alert,
            "no tick for more than three intervals",
            {**interval, TICKS: counting(40, 3), names.TICK_LAST: [*on_time[:10], *[540.0] * 10, *on_time[20:]]},
            # at three intervals it is not late yet
            [(13, 20 + _KEPT)],
        ),
        Situation(
            alert,
            "three intervals old at every look",
            {**interval, TICKS: counting(40, 3), names.TICK_LAST: counting(40, 60, -60)},
        ),
        Situation(
            alert,
            "more than one tick in ten left out",
            {TICKS: counting(40, 3), f"{names.TICKS_SKIPPED}_total": [*[0.0] * 10, *counting(30, 0.5)]},
            [(19, 40)],
        ),
        Situation(
            alert,
            "no tick came to its end since the start",
            {
                **interval,
                TICKS: [*[0.0] * 20, *counting(20, 3)],
                names.LEADING: [1.0] * 40,
                names.TICK_LAST: [*gone(20), *counting(40, 60)[20:]],
            },
            [(2, 20 + _KEPT)],
        ),
        Situation(alert, "another leads, or none", {**interval, TICKS: [0.0] * 40, names.LEADING: [0.0] * 40}),
        Situation(
            alert,
            "one tick in ten left out",
            {TICKS: counting(40, 3), f"{names.TICKS_SKIPPED}_total": counting(40, 0.25)},
        ),
    ]


def _budget() -> list[Situation]:
    alert, left = AlertName.ERROR_BUDGET_EXHAUSTED, f"{names.OBJECTIVE_BUDGET_LEFT}{_OF}"
    return [
        Situation(
            alert,
            "spent, and some again once bad events leave the window",
            {TICKS: counting(30, 4), left: [*[0.01] * 5, *[0.0] * 5, *[-0.5] * 10, *[0.01] * 10]},
            [(10, 20 + _KEPT)],
            OF,
        ),
        Situation(alert, "nearly spent", {TICKS: counting(20, 4), left: [0.001] * 20}),
        Situation(
            alert,
            "held while nobody tells, over where no events are left",
            {TICKS: [*counting(10, 4), *gone(10), *counting(10, 4)], left: [*[-1.0] * 10, *gone(20)]},
            [(5, 20 + _KEPT)],
            OF,
        ),
    ]


def _unmeasured() -> list[Situation]:
    alert = AlertName.OBJECTIVE_UNMEASURED
    measured, expected = (f"{name}_total{_OF}" for name in (names.OBJECTIVE_MEASURED_S, names.OBJECTIVE_EXPECTED_S))
    stopped = [*counting(21, 60), *[1200.0] * 29]
    return [
        Situation(
            alert,
            "measured no more",
            # of 15 minutes 7 are measured 8 minutes later
            {TICKS: counting(50, 4), measured: stopped, expected: counting(50, 60)},
            [(38, 50)],
            OF,
        ),
        Situation(
            alert,
            "half of it measured",
            {TICKS: counting(50, 4), measured: counting(50, 30), expected: counting(50, 60)},
        ),
        Situation(alert, "configured and not told of", {TICKS: counting(15, 4)}, [(10, 15)], OF),
        Situation(
            alert,
            "nobody tells of anything",
            {TICKS: [*counting(30, 4), *gone(20)], measured: counting(30, 60), expected: counting(30, 60)},
        ),
        Situation(
            alert,
            "held while nobody tells of anything",
            {TICKS: [*counting(15, 4), *gone(20)]},
            [(10, 35)],
            OF,
        ),
    ]


def situations() -> list[Situation]:
    """All of them."""
    down = AlertName.CONTROL_PLANE_DOWN
    leads = f'{names.LEADING}{{instance="b"}}'
    return [
        *(each for text in CONDITIONS for each in of_condition(text)),
        *_flag(AlertName.STORE_FAILING, names.STORE_FAILING, 1.0),
        *_flag(AlertName.CONTROL_PLANE_NOT_LEADING, names.LEADING, 0.0),
        Situation(
            AlertName.CONTROL_PLANE_NOT_LEADING,
            "one of two leads",
            {TICKS: counting(10, 4), f'{names.LEADING}{{instance="a"}}': [0.0] * 10, leads: [1.0] * 10},
        ),
        *_late(),
        *_budget(),
        *_unmeasured(),
        Situation(down, "scraped no more, and again", {TICKS: [*counting(5), *gone(5), *counting(10)]}, [(6, 12)]),
        Situation(down, "one scrape fails", {TICKS: [*counting(5), None, *counting(5)]}),
        Situation(AlertName.WATCHDOG, "always", {TICKS: counting(3)}, [(0, 3)]),
    ]
