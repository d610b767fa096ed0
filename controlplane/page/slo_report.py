"""The page of how objectives stood: a summary that is read in seconds, then each model with its plots and events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from controlplane.domain.alerts import Severity
from controlplane.page import wording
from controlplane.page.document import document, facts, pins
from controlplane.page.plot import Frame
from controlplane.page.slo_events import Event, event_list, event_pins, events
from controlplane.page.slo_plots import plots
from controlplane.slo.report import ModelReport, ObjectiveReport, Promise, Standing

_ORDER = (Promise.BROKEN, Promise.UNSURE, Promise.KEPT, Promise.NO_EVENTS)
_SIGNS = {Promise.KEPT: "✓", Promise.BROKEN: "✗", Promise.UNSURE: "?", Promise.NO_EVENTS: "·"}
_LITTLE = 0.9
"""Measured shares under this are pointed at."""


def render(standings: Sequence[Standing], reports: Sequence[ModelReport], at: float) -> str:
    """The HTML text. `standings` are all that the summary shows; `reports` the models that have a section."""
    since = min((standing.since for standing in standings), default=at)
    standings = sorted(standings, key=lambda s: (_ORDER.index(s.promise), s.model))
    place = {standing.model: n for n, standing in reversed(list(enumerate(standings)))}
    reports = sorted(reports, key=lambda report: place.get(report.model, len(place)))
    title = f"Service levels, {wording.day(since)} to {wording.dated(at)}"
    sections = "\n".join(_section(report, f"m{n}") for n, report in enumerate(reports))
    left_out = len({s.model for s in standings}) - len(reports)
    note = f'<p class="soft">{left_out} more models stand in the table only.</p>' if left_out > 0 else ""
    body = f"""<h1>{title}</h1>
<p class="soft">As of {wording.moment(at)} UTC. All times are UTC.</p>
{_verdict(standings)}
{_figures(standings, reports)}
{_table(standings, reports)}
{note}
{sections}
<footer class="soft">Attainment is good events over all events. A budget is the bad events that a target allows; a burn
rate of 1 spends it in just one window. Time that was not measured counts neither for nor against a promise.</footer>"""
    return document(title, body)


def _verdict(standings: Sequence[Standing]) -> str:
    counts = Counter(standing.promise for standing in standings)
    judged = len(standings) - counts[Promise.NO_EVENTS]
    if not judged:
        return '<p class="verdict none">Nothing could be judged: no events were counted</p>'
    text = f"{counts[Promise.KEPT]} of {judged} {'promise' if judged == 1 else 'promises'} kept"
    kind = " bad" if counts[Promise.BROKEN] else " none" if counts[Promise.UNSURE] else ""
    return f'<p class="verdict{kind}">{text}</p>'


def _figures(standings: Sequence[Standing], reports: Sequence[ModelReport]) -> str:
    counts = Counter(standing.promise for standing in standings)
    expected_s = sum(standing.expected_s for standing in standings)
    measured = sum(standing.measured_s for standing in standings) / expected_s if expected_s else 0.0
    alerts = [alert.severity for r in reports for objective in r.objectives for alert in objective.alerts]
    named = {"Kept": str(counts[Promise.KEPT]), "Broken": str(counts[Promise.BROKEN])}
    if counts[Promise.UNSURE]:
        named["Cannot be told"] = str(counts[Promise.UNSURE])
    if counts[Promise.NO_EVENTS]:
        named["No events"] = str(counts[Promise.NO_EVENTS])
    named["Time measured"] = wording.coverage(min(1.0, measured))
    named["Pages, tickets"] = f"{alerts.count(Severity.PAGE)}, {alerts.count(Severity.TICKET)}"
    return facts(named)


def _table(standings: Sequence[Standing], reports: Sequence[ModelReport]) -> str:
    linked = {report.model: f"m{n}" for n, report in enumerate(reports)}
    rows = "\n".join(_row(standing, linked.get(standing.model)) for standing in standings)
    return f"""<table><thead><tr><th>Model and promise</th><th>Kept?</th><th>Attained</th><th>Budget left</th>\
<th>Measured</th></tr></thead><tbody>
{rows}
</tbody></table>"""


def _row(standing: Standing, section: str | None) -> str:
    name = f'<a href="#{section}">{escape(standing.model)}</a>' if section else escape(standing.model)
    kind = standing.promise.value
    little = ' class="warn"' if standing.coverage < _LITTLE else ""
    return (
        f'<tr data-model="{escape(standing.model)}" data-objective="{escape(standing.objective)}">'
        f"<td><b>{name}</b> <span>{escape(wording.objective(standing))}</span></td>"
        f'<td><em class="{kind}">{_SIGNS[standing.promise]} {wording.PROMISES[standing.promise]}</em></td>'
        f'<td data-name="Attained">{wording.attained(standing)}</td>'
        f'<td data-name="Budget left">{_meter(standing.budget_left)}{wording.budget(standing)}</td>'
        f'<td data-name="Measured"{little}>{wording.coverage(standing.coverage)}</td></tr>'
    )


def _meter(left: float | None) -> str:
    if left is None:
        return ""
    kind = "over" if left <= 0 else "low" if left < 0.25 else ""
    return f'<s class="{kind}"><i style="width:{min(1.0, max(0.0, left)) * 100:.0f}%"></i></s>'


def _section(report: ModelReport, prefix: str) -> str:
    happened = events(report, prefix)
    objectives = "\n".join(_objective(report, objective, happened) for objective in report.objectives)
    refused = "".join(
        f'<p class="soft">{escape(name)} could not be judged again: {escape(why)}.</p>'
        for name, why in report.refused.items()
    )
    return f"""<section id="{prefix}"><h2>{escape(report.model)}</h2>
{objectives}{refused}
<h3>What happened</h3>
{_cut(report)}{event_list(happened)}</section>"""


def _cut(report: ModelReport) -> str:
    since = min((objective.standing.since for objective in report.objectives), default=report.at)
    cuts = [("Scaling is", report.marks_from)] if report.marks_from > since else []
    cuts += [
        (f"Alerts of {objective.standing.objective} are", objective.alerts_from)
        for objective in report.objectives
        if objective.alerts_from is not None
    ]
    return "".join(
        f'<p class="soft">{escape(what)} shown from {wording.moment(at)} on: before, there was too much.</p>'
        for what, at in cuts
    )


def _objective(report: ModelReport, objective: ObjectiveReport, happened: Sequence[Event]) -> str:
    standing = objective.standing
    frame = Frame(standing.since, standing.until, 1.0)
    signs = list(event_pins(happened, standing.objective, frame))
    window = wording.window(standing)
    counted = f", {wording.counted_by(standing)}" if wording.counted_by(standing) else ""
    again = f" Judged again: {escape(objective.judged_by)}." if objective.judged_by else ""
    return f"""<h3>{escape(wording.objective(standing))} <em class="{standing.promise.value}">\
{_SIGNS[standing.promise]} {wording.PROMISES[standing.promise]}</em></h3>
<p class="soft">{window[0].upper()}{window[1:]}{counted}.{again}</p>
{facts(_facts(standing))}
{pins(signs)}
{plots(objective, report, [frame.start + sign.share * (frame.end - frame.start) for sign in signs])}"""


def _facts(standing: Standing) -> dict[str, str]:
    total = standing.good + standing.bad + standing.unsure
    named = {
        "Attained": wording.attained(standing),
        "Budget left": wording.budget(standing),
        "Bad events": f"{wording.count(standing.bad)} <small>of {wording.count(total)}</small>",
        "Measured": wording.coverage(standing.coverage),
        "Burn 1 h, 6 h": f"{wording.burn(standing.burn_1h)}, {wording.burn(standing.burn_6h)}",
    }
    if standing.unsure:
        named["Unsure events"] = wording.count(standing.unsure)
    if standing.corrected:
        named["Corrected by people"] = wording.exact(standing.corrected, f"{standing.corrected:+,}")
    if standing.excluded_s:
        named["Time left out"] = wording.exact(standing.excluded_s, wording.lasting(standing.excluded_s))
    if standing.bad_capacity:
        named["For want of capacity"] = wording.exact(
            standing.bad_capacity, f"{standing.bad_capacity / standing.bad * 100:.0f} % of bad"
        )
    soonest = [s for s in (standing.exhausted_1h_s, standing.exhausted_6h_s) if s is not None]
    if soonest and (standing.budget_left or 0.0) > 0:
        named["At this pace spent in"] = wording.exact(min(soonest), wording.lasting(min(soonest)))
    return named
