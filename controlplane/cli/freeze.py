"""controlplane freeze, unfreeze: no scaling for a while."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.client import path_of
from controlplane.cli.options import DEFAULT_URL, Json, Reason, TokenFile, Ttl, Url, api_of
from controlplane.cli.output import clock_time, counted, print_json

_Model = Annotated[str, typer.Option("--model", help="One model, and the workloads it runs on.")]
_Workload = Annotated[str, typer.Option("--workload", help="The replicas of one workload; neither: all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("freeze")(freeze)
    app.command("unfreeze")(unfreeze)


def freeze(
    *,
    model: _Model = "",
    workload: _Workload = "",
    direction: Annotated[str, typer.Option(help="What is forbidden: all, no_up or no_down.")] = "all",
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Stop scaling for a while; what people ask for is still carried out."""
    body = {"model": model, "workload": workload, "direction": direction, "ttl": ttl, "reason": reason}
    made = api_of(url, token_file).call("POST", path_of("freezes"), body=body)
    if as_json:
        print_json(made)
    else:
        until = clock_time(made["expires_at"])
        print(f"{model or workload or 'all models'}: frozen ({made['direction']}) until {until} UTC")


def unfreeze(
    *,
    model: _Model = "",
    workload: _Workload = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """End the freezes of one model or workload, or those that hold for all."""
    named = {key: name for key, name in (("model", model), ("workload", workload)) if name}
    ended = api_of(url, token_file).call("DELETE", path_of("freezes"), query=named or None)
    if as_json:
        print_json(ended)
    else:
        print(f"{counted(ended['ended'], 'freeze')} {f'of {model or workload}' if named else 'for all models'} ended")
