"""controlplane event: demand that is known to come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controlplane.cli.client import path_of
from controlplane.cli.options import DEFAULT_URL, Json, Reason, TokenFile, Url, api_of
from controlplane.cli.output import clock_time, print_json

app = typer.Typer(help="Demand that is known to come.", rich_markup_mode=None)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What it is called in explanations.")],
    subject: Annotated[str, typer.Argument(help="The model or workload that it comes to.")],
    *,
    start: Annotated[str, typer.Option(help="When it begins, such as 2026-11-27T08:00Z.")],
    end: Annotated[str, typer.Option(help="When it is over.")],
    factor: Annotated[float, typer.Option(help="So many times what there was before it.")] = 1.0,
    rate: Annotated[str, typer.Option(help="Requests that come then, such as 50/s.")] = "",
    reason: Reason = "by hand",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Announce demand: capacity is there when it begins."""
    body: dict[str, Any] = {"name": name, "subject": subject, "start": start, "end": end, "reason": reason}
    body |= {"factor": factor} | ({"rate": rate} if rate else {})
    made = api_of(url, token_file).call("POST", path_of("announcements"), body=body)
    if as_json:
        print_json(made)
    else:
        print(f"{made['name']} ({made['id']}) is announced for {made['subject']}")


@app.command("list")
def list_(*, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show announced events that are not over, those of the configuration too."""
    found = api_of(url, token_file).call("GET", path_of("announcements"))
    if as_json:
        print_json(found)
        return
    # rich takes long to import, and other commands have no use for it
    from controlplane.cli.tables import escape, new_table, number, show

    table = new_table("Announced events", "id", "event", "for", "from (UTC)", "until (UTC)", "demand", "by", "reason")
    for event in found:
        asked = [f"{event['factor']:g} times"] if event["factor"] > 1 else []
        asked += [f"{number(event['per_s'])}/s"] if event["per_s"] else []
        times = (clock_time(event["start_s"]), clock_time(event["end_s"]))
        told = (
            event["id"],
            event["name"],
            event["subject"],
            *times,
            " or ".join(asked),
            event["actor"],
            event["reason"],
        )
        table.add_row(*(escape(cell) for cell in told))
    show(table)


@app.command("end")
def end(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="As `controlplane event list` shows it.")],
    *,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Take an announced event back."""
    ended = api_of(url, token_file).call("DELETE", path_of("announcements", event_id))
    if as_json:
        print_json(ended)
    else:
        print(f"{ended['name']} ({ended['id']}) is taken back")
