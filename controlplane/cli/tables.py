"""Tables of what the API shows. A value that is missing or old says so in its cell, with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape as _escape
from rich.table import Table

from controlplane.cli.fitting import FittingTable
from controlplane.cli.output import clock_time, counted, duration, printable

UNKNOWN = "[dim]-[/]"
"""A cell of what is not known."""
_WIDE = 120
"""Columns of a terminal from which on sentences fit beside figures, and names beside each other."""
_PLAIN_WIDTH = 160
"""Where there is no terminal to ask."""


def escape(text: str) -> str:
    """Text from elsewhere, shown as it is: neither markup nor what would steer the terminal."""
    return _escape(printable(text))


def console() -> Console:
    """Standard output; wide where it is no terminal and COLUMNS says nothing, so that nothing is cut in a log."""
    made = Console(highlight=False)
    told = os.environ.get("COLUMNS", "").isdigit()
    return made if made.is_terminal or told else Console(highlight=False, width=_PLAIN_WIDTH)


def is_narrow() -> bool:
    """Whether standard output is too narrow for one line each."""
    return console().width < _WIDE


def show(*parts: RenderableType) -> None:
    """Print to standard output."""
    out = console()
    for part in parts:
        out.print(part)


def loop_line(fleet: Mapping[str, Any]) -> str:
    """When the loop ticked last, and what is wrong with it."""
    loop = fleet["loop"]
    if loop["leader"] and not loop["leading"]:
        text = f"{clock_time(fleet['at'])} UTC  stands by; {escape(loop['leader'])} leads, in epoch {loop['epoch']}"
        return text + (f"  [red]{escape(loop['problem'])}[/]" if loop["problem"] else "")
    if loop["last_tick_at"] is None:
        return f"{clock_time(fleet['at'])} UTC  no tick was done yet"
    text = f"{clock_time(fleet['at'])} UTC  last tick {duration(fleet['at'] - loop['last_tick_at'])} ago, "
    text += f"{loop['ticks']} done, {loop['skipped']} skipped"
    text += f"  [red]{escape(loop['problem'])}[/]" if loop["problem"] else ""
    return text + _unwritten(loop, fleet["at"]) + "".join(_circuit(one) for one in fleet["circuits"])


def _circuit(one: Mapping[str, Any]) -> str:
    """A line about a server or workload that is left alone for a while."""
    wait = f"left alone for another {duration(one['left_s'])}" if one["left_s"] else "the next step tries it"
    return f"\n[yellow]{escape(one['target'])}[/]: {one['failures']} steps in a row found nobody; {wait}"


def _unwritten(loop: Mapping[str, Any], now: float) -> str:
    """Lines about ticks that wait for the store, and those that were lost."""
    lines = ""
    if loop["unwritten_since"] is not None:
        lines += (
            f"\n[red]{counted(loop['unwritten'], 'tick')} not written[/] since {clock_time(loop['unwritten_since'])}"
        )
        lines += f" UTC ({duration(now - loop['unwritten_since'])}); nothing is carried out until the store is back,"
        lines += f" and ticks older than {duration(loop['unwritten_most_s'])} are lost"
    if loop["lost"]:
        lines += f"\n[red]{counted(loop['lost'], 'tick')} lost[/] since the start: that time counts as unmeasured"
    return lines


_SERVING = (None, "ready")


def servers_table(servers: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Servers: whether they answer, how old that is, and whether they may be controlled; below what went wrong."""
    table = new_table("Servers", "server", "kind", "live", "read", "model\ncontrol", "starts\nseen")
    for server in servers:
        live = server["live"]
        table.add_row(
            escape(server["name"]) + (f" [yellow]{phase}[/]" if (phase := server["phase"]) not in _SERVING else ""),
            server["kind"],
            or_unknown(live, {True: "[green]yes[/]", False: "[red]no[/]"}.get),
            UNKNOWN if server["read_age_s"] is None else f"{duration(server['read_age_s'])} ago",
            signal(server["control"]),
            str(server["incarnation"]),
        )
    return Group(table, *_problems(servers))


def _problems(servers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Why servers do not answer, are not read in full or are not known."""
    for server in servers:
        if problem := server.get("problem") or server["live"]["why"]:
            yield f"[dim]{escape(server['name'])}: {escape(problem.removeprefix(server['name'] + ' '))}[/]"


def models_table(models: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Models on their servers, with what the last decision wants; below it why something is not known.

    Where the terminal is narrow the decisions stand below the table too.
    """
    narrow = is_narrow()
    names = ("model\n server",) if narrow else ("model", "server", "mode")
    figures = ("state", "read", "instances", "want", "demand\n/s", "capacity\n/s", "waiting")
    table = new_table("Models", *names, *figures, *(() if narrow else ("decided",)))
    below: list[str] = []
    for model in models:
        name = escape(model["name"])
        if not model["units"]:
            named = (name,) if narrow else (name, UNKNOWN, model["mode"])
            table.add_row(*named, *[UNKNOWN] * (len(table.columns) - len(named)))
        for unit in model["units"]:
            server, decision, flying = escape(unit["server"]), unit["decision"], unit["in_flight"]
            decided = UNKNOWN if decision is None else escape(decision["headline"])
            if narrow:
                below.append(f"{name} on {server} ({model['mode']}): {decided}")
            table.add_row(
                *((f"{name}\n {server}",) if narrow else (name, server, model["mode"])),
                or_unknown(unit["state"]) + (f" [yellow]{flying['step']}…[/]" if flying else ""),
                UNKNOWN if (age_s := unit["state"]["age_s"]) is None else f"{duration(age_s)} ago",
                f"{or_unknown(unit['instances'])} of {model['instances_min']}-{model['instances_max']}",
                or_unknown(unit["desired_instances"]),
                or_unknown(unit["demand_per_s"], number),
                or_unknown(unit["capacity_per_s"], number),
                or_unknown(unit["pending"]),
                *(() if narrow else (decided,)),
            )
    return Group(table, *below, *_gaps(models))


_GAPS = ("state", "instances", "desired_instances", "demand_per_s", "capacity_per_s", "pending")


_NAMED = 3


def _gaps(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is not known of a model and why, a line for all servers that lack the same, and whose probe failed."""
    for model in models:
        if not model["units"]:
            empty = (f"workload {w['name']}: {_servers_of(w['members'])}" for w in model["workloads"])
            yield f"[dim]{escape(model['name'])}: {escape('; '.join(empty))}[/]"
        lines: dict[tuple[str, str], list[str]] = {}
        for unit in model["units"]:
            whys: dict[str, list[str]] = {}
            for key in _GAPS:
                if unit[key]["state"] != "known":
                    whys.setdefault(unit[key]["why"], []).append(key.removesuffix("_per_s").replace("_", " "))
            if whys:
                parts = "; ".join(f"{', '.join(keys)}: {why}" for why, keys in whys.items())
                lines.setdefault(("dim", parts), []).append(unit["server"])
            if failed := unit.get("probe_failure"):
                text = f"the probe failed: {failed['message']} [{failed['failure']}; {failed['remedy']}]"
                lines.setdefault(("red", text), []).append(unit["server"])
        for (style, text), servers in lines.items():
            more = f" and {len(servers) - _NAMED} more" if len(servers) > _NAMED else ""
            where = f"{model['name']} on {', '.join(servers[:_NAMED])}{more}"
            yield f"[{style}]{escape(where)}: {escape(text)}[/]"


def _servers_of(members: Mapping[str, Any]) -> str:
    """Why a workload gives no servers."""
    return f"servers {members['state']}: {members['why']}" if members["why"] else "has no servers now"


def objectives_table(models: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Objectives with attainment, budget and coverage; below what a Prometheus does not tell, or what is odd of it."""
    narrow = is_narrow()
    names = ("model\n objective",) if narrow else ("model", "objective")
    figures = ("budget\nleft", "burn\n5m/1h/6h") if narrow else ("budget left", "burn 5m/1h/6h")
    table = new_table("Objectives", *names, "target", "attained", *figures, "measured")
    for model in models:
        for o in model["objectives"]:
            name, window = escape(model["name"]), _window(o)
            table.add_row(
                *((f"{name}\n {o['objective']}\n {window}",) if narrow else (name, f"{o['objective']} {window}")),
                f"{100 * o['target']:.10g}%",
                _attained(o),
                _budget(o["budget_left"]) + _spent_in(o["exhausted_1h_s"]),
                " / ".join(number(o[key]) for key in ("burn_5m", "burn_1h", "burn_6h")),
                UNKNOWN if o["coverage"] is None else f"{o['coverage']:.1%} ({duration(o['measured_s'])})",
            )
    return Group(table, *_untold(models))


def _untold(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for model in models:
        for o in model["objectives"]:
            told = o.get("told")
            if told and told["state"] != "known":
                yield f"[dim]{escape(model['name'])} {o['objective']}: {told['state']}: {escape(told['why'])}[/]"
            if o.get("warning"):
                yield f"[yellow]{escape(model['name'])} {o['objective']}: {escape(o['warning'])}[/]"


def people_table(overrides: Sequence[Mapping[str, Any]], freezes: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What people have fixed, until when and why."""
    if not overrides and not freezes:
        return "[bold]Overrides and freezes[/]: none"
    table = new_table("Overrides and freezes", "id", "of", "what", "until (UTC)", "by", "reason")
    for o in overrides:
        what = o["kind"] if o["instances"] is None else f"{o['kind']} {o['instances']}"
        if o["min"] is not None:
            what = f"{o['kind']} {o['min']} to {o['max']}"
        if o["version"]:
            what = f"{o['kind']} to version {o['version']}"
        on = f"{o['model']} on {o['server']}" if o["server"] else o["workload"] or o["model"]
        table.add_row(o["id"], escape(on), what, clock_time(o["expires_at"]), escape(o["actor"]), escape(o["reason"]))
    for f in freezes:
        what = "frozen" if f["direction"] == "all" else f"frozen ({f['direction']})"
        on = f["workload"] or f["model"] or "all"
        table.add_row(f["id"], escape(on), what, clock_time(f["expires_at"]), escape(f["actor"]), escape(f["reason"]))
    return table


def decisions_table(decisions: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Decisions, newest first, with what came of them."""
    if not decisions:
        return "[bold]Decisions[/]: none"
    narrow = is_narrow()
    names = ("id\nat (UTC)", "model\n server") if narrow else ("id", "at (UTC)", "model", "server")
    table = new_table("Decisions", *names, "what and why", "came of it")
    for d in decisions:
        cells = (d["id"], clock_time(d["at"]), escape(d["model"]), escape(d["server"]))
        table.add_row(
            *((f"{cells[0]}\n{cells[1]}", f"{cells[2]}\n {cells[3]}") if narrow else cells),
            escape(d["headline"]) + (" [dim](by request)[/]" if d["by_person"] else ""),
            _came_of(d),
        )
    return table


def signal(view: Mapping[str, Any], form: Any = str) -> str:
    """A cell: the value, its age when it is stale, the reason when it is missing."""
    match view["state"]:
        case "known":
            return str(form(view["value"]))
        case "stale":
            return f"{form(view['value'])} [yellow]stale {duration(view['age_s'])}[/]"
        case _:
            return f"{UNKNOWN} [dim]{escape(view['why'])}[/]"


def or_unknown(view: Mapping[str, Any], form: Any = str) -> str:
    """As signal, but a missing value leaves its reason to the lines below the table."""
    return UNKNOWN if view["state"] == "missing" else signal(view, form)


def _came_of(decision: Mapping[str, Any]) -> str:
    if decision["step"] == "hold":
        return UNKNOWN
    if not decision["actionable"]:
        return f"[dim]not carried out: mode {decision['mode']}[/]"
    parts = [
        f"[red]{o['status']}[/]: {escape(o['detail'])}" if o["status"] == "failed" else o["status"]
        for o in decision["outcomes"]
    ]
    if decision["effect"]:
        parts.append(decision["effect"]["verdict"])
    return ", ".join(parts) or "[dim]under way[/]"


def _attained(objective: Mapping[str, Any]) -> str:
    low, high = objective["attainment_low"], objective["attainment_high"]
    if low is None or high is None:
        return f"{UNKNOWN} [dim]nothing counted[/]"
    text = f"{low:.3%}" if low == high else f"{low:.3%} to {high:.3%}"
    return f"[green]{text}[/]" if low >= objective["target"] else f"[red]{text}[/]"


def _budget(left: float | None) -> str:
    if left is None:
        return UNKNOWN
    return f"[{'green' if left > 0.25 else 'yellow' if left > 0 else 'red'}]{left:.1%}[/]"


def _spent_in(seconds: float | None) -> str:
    return "" if seconds is None or seconds == 0 else f" [red]spent in {duration(seconds)}[/]"


def _window(objective: Mapping[str, Any]) -> str:
    if objective["period"] is None:
        return f"over {duration(objective['window_s'])}"
    return f"over the {objective['period']} ({objective['timezone']})"


def number(value: float | None) -> str:
    """Three digits of it; all in front of the point."""
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def new_table(title: str, *columns: str) -> Table:
    """An empty table in our form."""
    table = FittingTable(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1 if is_narrow() else 2, 0, 0),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
