"""controlplane slo: how objectives stand and how they came to it, and what people correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from controlplane.cli.client import Api, RefusedError, path_of
from controlplane.cli.options import DEFAULT_URL, Json, TokenFile, Url, api_of
from controlplane.cli.output import print_json
from controlplane.domain.errors import ConfigurationError, Fault

app = typer.Typer(help="Objectives: reports and corrections.", rich_markup_mode=None)

_ALL = "*"
_SECTIONS = 50
"""Models that get a section of their own on a page: those with the least budget left."""
_CONFLICT = 409

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model; '*' for all of them.")]
_Moment = "such as 2026-11-20T10:00Z, UTC where no offset is given."


@app.callback()
def _group() -> None:
    """Objectives: reports and corrections."""


@app.command("report")
def report(
    *,
    model: Annotated[str, typer.Option("--model", help="One model in full; left out: all.")] = "",
    window: Annotated[str, typer.Option("--window", help="Such as 28d; left out: each objective's own.")] = "",
    threshold: Annotated[str, typer.Option("--threshold", help="Judge by another one, such as 200ms.")] = "",
    target: Annotated[str, typer.Option("--target", help="Judge by another one, such as 99.5%.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Tell how objectives stand: attainment, budget, burn rates, and how much was measured."""
    api = api_of(url, token_file)
    query = {k: v for k, v in (("window", window), ("threshold", threshold), ("target", target)) if v}
    again = bool(threshold or target)
    standings = [] if model else api.get(path_of("slo"), **({"window": window} if window else {}))
    wanted = [model] if model else _by_budget(standings)
    if not model and not again:
        wanted = wanted[:_SECTIONS] if html is not None else []
    reports = _reports(api, wanted, query)
    if model or again:
        standings = [objective["standing"] for found in reports for objective in found["objectives"]]
    if html is not None:
        _write(html, standings, reports[:_SECTIONS])
    if as_json:
        print_json(reports[0] if model else reports if again else standings)
        return
    from controlplane.cli.slo_tables import happened_lines, notes, standings_table
    from controlplane.cli.tables import escape, show

    show(standings_table(standings), *notes(reports), *(happened_lines(reports[0]) if model else ()))
    if html is not None:
        show(f"written to {escape(str(html))}")


@app.command("adjust")
def adjust(
    model: _Model,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="exclude, events or withdraw.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown to everybody and kept.")],
    objective: Annotated[str, typer.Option("--objective", help="One objective; left out: all of the model's.")] = "",
    start: Annotated[str, typer.Option("--from", help=f"exclude, events: since when, {_Moment}")] = "",
    end: Annotated[str, typer.Option("--to", help=f"exclude, events: until when, {_Moment}")] = "",
    bad: Annotated[int, typer.Option("--bad", help="events: bad events more; negative: fewer.")] = 0,
    withdraws: Annotated[str, typer.Option("--id", help="withdraw: the adjustment to take back.")] = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Correct what counts: leave a time out, count bad events otherwise, or take a correction back."""
    _check_options(kind, {"--from": start, "--to": end, "--bad": bad, "--id": withdraws})
    _check_objective(kind, model, objective)
    given = {"objective": objective, "start": start, "end": end, "bad": bad, "withdraws": withdraws}
    body = {"kind": kind, "reason": reason} | {name: value for name, value in given.items() if value}
    made = api_of(url, token_file).call("POST", path_of("slo", model, "adjustments"), body=body)
    if as_json:
        print_json(made)
    else:
        from controlplane.cli.slo_tables import adjustment_text

        print(f"{made['id']}: {made['model'] or 'all models'}: {adjustment_text(made)}")


_OPTIONS_OF = {"exclude": ("--from", "--to"), "events": ("--from", "--to", "--bad"), "withdraw": ("--id",)}


def _check_options(kind: str, options: Mapping[str, str | int]) -> None:
    """Raise ConfigurationError for options that a kind does not take, by the names that they have here."""
    if kind not in _OPTIONS_OF:
        fault = Fault("KIND", repr(kind), f"one of these is: {', '.join(_OPTIONS_OF)}")
        raise ConfigurationError("command line", (fault,))
    needed, given = _OPTIONS_OF[kind], [name for name, value in options.items() if value]
    if set(given) != set(needed):
        fault = Fault(kind, " with ".join(["this", *given]), f"it takes {', '.join(needed)}, no more and no less")
        raise ConfigurationError("command line", (fault,))


def _check_objective(kind: str, model: str, objective: str) -> None:
    """Raise ConfigurationError where MODEL or --objective must name one, and does not."""
    if kind == "events" and not objective:
        fault = Fault(kind, "this without --objective", "it corrects one objective: give --objective OBJECTIVE, too")
    elif objective and model == _ALL:
        fault = Fault(
            "--objective", f"{objective!r} of MODEL '{_ALL}'", "name the one MODEL that it is an objective of"
        )
    else:
        return
    raise ConfigurationError("command line", (fault,))


@app.command("adjustments")
def adjustments(
    *,
    model: Annotated[str, typer.Option("--model", help="Of one model; left out: every one.")] = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """List what people corrected, oldest first."""
    found = api_of(url, token_file).get(path_of("slo", model or _ALL, "adjustments"))
    if as_json:
        print_json(found)
        return
    from controlplane.cli.slo_tables import adjustments_table
    from controlplane.cli.tables import show

    show(adjustments_table(found))


def _reports(api: Api, models: Sequence[str], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The reports of models; those that cannot be judged as is asked are left out, unless none can."""
    found: list[dict[str, Any]] = []
    refusals: list[RefusedError] = []
    for name in models:
        try:
            found.append(api.get(path_of("slo", name), **query))
        except RefusedError as error:
            if error.status != _CONFLICT:
                raise
            refusals.append(error)
    if refusals and not found:
        raise refusals[0]
    return found


def _by_budget(standings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The models, those with the least budget left first."""
    left: dict[str, float] = {}
    for standing in standings:
        name, of = standing["model"], standing["budget_left"]
        left[name] = min(left.get(name, 1.0), 1.0 if of is None else of)
    return sorted(left, key=lambda name: left[name])


def _write(path: Path, standings: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]) -> None:
    from pydantic import TypeAdapter

    from controlplane.page.slo_report import render
    from controlplane.slo.report import ModelReport, Standing

    values = TypeAdapter(list[ModelReport]).validate_python(reports)
    told = {report.model for report in values}
    # sections and summary show the same moment
    others = [s for s in TypeAdapter(list[Standing]).validate_python(standings) if s.model not in told]
    shown = [objective.standing for report in values for objective in report.objectives]
    at = max((standing.until for standing in (*shown, *others)), default=0.0)
    try:
        path.write_text(render([*shown, *others], values, at), encoding="utf-8")
    except OSError as error:
        fault = Fault("--html", str(path), f"a file that can be written is allowed ({error.strerror})")
        raise ConfigurationError("command line", (fault,)) from None
