"""What happened to a model, in the order of time: scaling by the day, alerts, corrections, people's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise

from controlplane.domain.alerts import Severity
from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.page.document import Pin
from controlplane.page.plot import Frame
from controlplane.page.wording import day, lasting, moment, percent
from controlplane.slo.report import Mark, MarkKind, ModelReport, ObjectiveReport

_SIGNS = {
    MarkKind.UP: "▲",
    MarkKind.DOWN: "▼",
    MarkKind.LOAD: "●",
    MarkKind.UNLOAD: "○",
    MarkKind.RELOAD: "↻",
    MarkKind.PERSON: "☞",
}
_DONE = {
    MarkKind.UP: "scaled up",
    MarkKind.DOWN: "scaled down",
    MarkKind.LOAD: "loaded",
    MarkKind.UNLOAD: "unloaded",
    MarkKind.RELOAD: "reloaded",
}
_ALERT, _ADJUSTMENT, _VERSION, _SCALED = "⚑", "✎", "◆", "⇅"
_WEIGHT = (_ALERT, _ADJUSTMENT, _VERSION, _SIGNS[MarkKind.PERSON])
"""Of several in one place, the sign of the first of these is shown."""
_PINS = 24
_FEW = 12
_NEAR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the list; `lines` are shown when it is opened. `moments` are marked in the plots.

    `objective` empty: it bears on all of the model's.
    """

    id: str
    at: float
    sign: str
    text: str
    lines: tuple[str, ...] = ()
    moments: tuple[float, ...] = ()
    objective: str = ""


def events(report: ModelReport, prefix: str) -> tuple[Event, ...]:
    """All that happened, oldest first. `prefix` begins the ids of a model."""
    all_of_it = [
        *_scaling(report),
        *(_said(mark) for mark in report.marks if mark.kind is MarkKind.PERSON),
        *(event for objective in report.objectives for event in _alerts(objective)),
        *(event for objective in report.objectives for event in _versions(objective)),
        *_adjustments(report.adjustments),
    ]
    ordered = sorted(all_of_it, key=lambda found: found[0])
    return tuple(Event(f"{prefix}-{n}", *found) for n, found in enumerate(ordered))


def event_list(shown: Sequence[Event]) -> str:
    """The list of events."""
    items = "\n".join(_item(event) for event in shown) or '<li class="soft">Nothing was changed.</li>'
    return f'<ol class="dated">{items}</ol>'


def event_pins(shown: Iterable[Event], objective: str, frame: Frame) -> Iterator[Pin]:
    """Signs above the plots of an objective: events that would overlap share one."""
    own = (event for event in shown if event.objective in {"", objective})
    placed = [(frame.share(at), event) for event in own for at in event.moments if frame.start <= at]
    for _, group in groupby(sorted(placed, key=lambda pair: pair[0]), key=lambda pair: int(pair[0] * _PINS)):
        near = list(group)
        ids = dict.fromkeys(event.id for _, event in near)
        chosen = min((event for _, event in near), key=lambda event: _weight(event.sign))
        texts = {event.id: f"{moment(event.at)} {event.text}" for _, event in near}
        text = "; ".join(list(texts.values())[:3]) + (f"; and {len(ids) - 3} more" if len(ids) > 3 else "")
        yield Pin(sum(share for share, _ in near) / len(near), chosen.sign, text, chosen.id)


_Found = tuple[float, str, str, tuple[str, ...], tuple[float, ...], str]


def _scaling(report: ModelReport) -> Iterator[_Found]:
    """Decisions: each by itself where there are few, and around alerts; the everyday ones in one line."""
    made = [mark for mark in report.marks if mark.kind is not MarkKind.PERSON]
    spans = [span for objective in report.objectives for span in objective.alerts]
    everyday: list[Mark] = []
    for mark in made:
        near = any(span.since - _NEAR_S <= mark.at <= (span.until or mark.at) + _NEAR_S for span in spans)
        if near or len(made) <= _FEW:
            yield mark.at, _SIGNS[mark.kind], mark.text, (_line(mark),) if mark.detail else (), (mark.at,), ""
        else:
            everyday.append(mark)
    if everyday:
        counts = Counter(mark.kind for mark in everyday)
        text = ", ".join(f"{_DONE[kind]} {number} times" for kind, number in counts.most_common())
        other = "at other times " if len(everyday) < len(made) else ""
        yield everyday[0].at, _SCALED, f"{other}{text}", tuple(_line(mark) for mark in everyday), (), ""


def _line(mark: Mark) -> str:
    return f"{moment(mark.at)} {_SIGNS[mark.kind]} {mark.text}" + (f" ({mark.detail})" if mark.detail else "")


def _said(mark: Mark) -> _Found:
    return mark.at, _SIGNS[mark.kind], mark.text, (), (mark.at,), ""


def _alerts(report: ObjectiveReport) -> Iterator[_Found]:
    for span in report.alerts:
        end = report.standing.until if span.until is None else span.until
        what = "Page" if span.severity is Severity.PAGE else "Ticket"
        lasted = f"{'for' if span.until else 'firing for'} {lasting(end - span.since)}"
        yield span.since, _ALERT, f"{what} {lasted}: {span.summary}", (), (span.since,), report.standing.objective


def _versions(report: ObjectiveReport) -> Iterator[_Found]:
    for before, after in pairwise(report.versions):
        text = f"{report.standing.objective}: target {percent(before.target)} became {percent(after.target)}"
        if before.window_s != after.window_s:
            text += f", over {lasting(after.window_s)} in place of {lasting(before.window_s)}"
        yield after.since, _VERSION, text, (), (after.since,), report.standing.objective


def _adjustments(made: Sequence[Adjustment]) -> Iterator[_Found]:
    withdrawn = {a.withdraws: a for a in made if a.kind is AdjustmentKind.WITHDRAW}
    for a in made:
        if a.kind is AdjustmentKind.WITHDRAW:
            continue
        what = "left out" if a.kind is AdjustmentKind.EXCLUDE else f"{a.bad:+,} bad events"
        of = a.objective or ("this model" if a.model else "all models")
        text = f"{of}: {moment(a.start)} to {moment(a.end)} {what}, by {a.actor}: {a.reason}"
        if back := withdrawn.get(a.id):
            text += f" (withdrawn by {back.actor} on {day(back.at)}: {back.reason})"
        yield a.start, _ADJUSTMENT, text, (), (a.start,), a.objective


def _weight(sign: str) -> int:
    return _WEIGHT.index(sign) if sign in _WEIGHT else len(_WEIGHT)


def _item(event: Event) -> str:
    head = f"<time>{moment(event.at)}</time><span>{event.sign}</span><span>{escape(event.text)}</span>"
    if not event.lines:
        return f'<li id="{event.id}"><div class="row">{head}</div></li>'
    lines = "\n".join(escape(line) for line in event.lines)
    return f'<li id="{event.id}"><details><summary>{head}</summary><pre>{lines}</pre></details></li>'
