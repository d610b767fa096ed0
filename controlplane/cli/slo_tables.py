"""Tables of how objectives stand and of what people corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType

from controlplane.cli.output import duration
from controlplane.cli.tables import UNKNOWN, escape, is_narrow, new_table

_PROMISES = {
    "kept": "[green]kept[/]",
    "broken": "[red]broken[/]",
    "unsure": "[yellow]unsure[/]",
    "no_events": "[dim]no events[/]",
}
_LINES = 12


def standings_table(standings: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Each objective with its promise, attainment, budget, burn rates, and how much was measured."""
    if not standings:
        return "[bold]Objectives[/]: none"
    narrow = is_narrow()
    names = ("model\n objective",) if narrow else ("model", "objective")
    table = new_table("Objectives", *names, "promise", "attained\nof target", "budget\nleft", "burn\n1h/6h", "measured")
    for s in standings:
        model, over = escape(s["model"]), _window(s)
        named = (f"{model}\n {s['objective']}\n {over}",) if narrow else (model, f"{s['objective']} {over}")
        burns = "/".join("-" if s[key] is None else f"{s[key]:.2g}" for key in ("burn_1h", "burn_6h"))
        table.add_row(
            *named, _PROMISES[s["promise"]], _attained(s), _budget(s), burns, f"{int(s['coverage'] * 1000) / 10:.1f}%"
        )
    return table


def notes(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was judged again, what could not be, and of what only the newest is shown."""
    for report in reports:
        model = escape(report["model"])
        for objective in report["objectives"]:
            name = objective["standing"]["objective"]
            if objective["judged_by"]:
                yield f"[dim]{model} {name}: judged by {escape(objective['judged_by'])}[/]"
            if objective["alerts_from"] is not None:
                yield f"[dim]{model} {name}: alerts shown from {_minute(objective['alerts_from'])} UTC on[/]"
        for name, why in report["refused"].items():
            yield f"[yellow]{model} {name}: not judged again: {escape(why)}[/]"


def happened_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The newest of what happened to a model, oldest first."""
    from pydantic import TypeAdapter

    from controlplane.page.slo_events import events
    from controlplane.page.wording import moment
    from controlplane.slo.report import ModelReport

    found = events(TypeAdapter(ModelReport).validate_python(report), "")
    if found:
        yield ""
        yield f"[bold]What happened[/]{f' (the last {_LINES})' if len(found) > _LINES else ''}"
    for event in found[-_LINES:]:
        yield f"{moment(event.at)} {event.sign} {escape(event.text)}"


def adjustments_table(made: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Corrections, and which of them were taken back."""
    if not made:
        return "[bold]Adjustments[/]: none"
    narrow = is_narrow()
    names = ("id\nat (UTC)", "model\n objective") if narrow else ("id", "at (UTC)", "model", "objective")
    table = new_table("Adjustments", *names, "what", "by", "reason")
    table.columns[1].no_wrap = True
    withdrawn = {a["withdraws"] for a in made}
    for a in made:
        at, model, of = _minute(a["at"]), escape(a["model"]) or "all", escape(a["objective"]) or "all"
        cells = (f"{a['id']}\n{at}", f"{model}\n {of}") if narrow else (a["id"], at, model, of)
        what = adjustment_text(a) + (" [yellow](withdrawn)[/]" if a["id"] in withdrawn else "")
        table.add_row(*cells, what, escape(a["actor"]), escape(a["reason"]))
    return table


def adjustment_text(adjustment: Mapping[str, Any]) -> str:
    """What a correction does, in words."""
    if adjustment["kind"] == "withdraw":
        return f"takes {adjustment['withdraws']} back"
    span = f"{_minute(adjustment['start'])} to {_minute(adjustment['end'])}"
    if adjustment["kind"] == "exclude":
        return f"left out {span}"
    return f"{adjustment['bad']:+,} bad events {span}"


def _window(standing: Mapping[str, Any]) -> str:
    if standing["period"]:
        return f"this {standing['period']}"
    return f"over {duration(standing['until'] - standing['since'])}"


def _attained(standing: Mapping[str, Any]) -> str:
    low, high, target = standing["attainment_low"], standing["attainment_high"], f"{standing['target'] * 100:.10g}%"
    if low is None or high is None:
        return f"{UNKNOWN}\nof {target}"
    text = f"{low:.3%}" if low == high else f"{low:.3%}-{high:.3%}"
    return f"{text}\nof {target}"


def _budget(standing: Mapping[str, Any]) -> str:
    left = standing["budget_left"]
    if left is None:
        return UNKNOWN
    soonest = min((s for s in (standing["exhausted_1h_s"], standing["exhausted_6h_s"]) if s), default=None)
    below = f"\n[dim]for {duration(soonest)}[/]" if soonest else "\n[dim]at worst[/]" if standing["unsure"] else ""
    return f"[{'green' if left > 0.25 else 'yellow' if left > 0 else 'red'}]{left:.1%}[/]{below}"


def _minute(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
