"""controlplane mig copy: a copy of a model on a slice, started or drained by the agent of its node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.mig_agents import agents_at
from controlplane.cli.options import Json
from controlplane.cli.output import complain, print_json, printable
from controlplane.cli.progress import progress
from controlplane.domain.errors import ConfigurationError, Fault
from controlplane.domain.mig import WHOLE, Act, CopyOutcome, CopyState, Slice

_ACTS = (Act.START, Act.DRAIN)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("copy")(copy)


def copy(
    act: Annotated[str, typer.Argument(help="start, or drain: out of routing, finished, stopped.")],
    model: Annotated[str, typer.Argument(help="The model.")],
    *,
    agent: Annotated[str, typer.Option("--agent", help="URL of the agent of the node, started with --mig --copies.")],
    token_file: Annotated[Path, typer.Option("--token-file", help="File that holds the agent's bearer token.")],
    gpu: Annotated[str, typer.Option("--gpu", help="UUID of the GPU.")],
    profile: Annotated[
        str, typer.Option("--profile", help="Profile of the slice; whole: the GPU with MIG off.")
    ] = WHOLE,
    start: Annotated[int, typer.Option("--start", min=0, help="First memory unit of the slice.")] = 0,
    as_json: Json = False,
) -> None:
    """Start or drain a copy of a model on a slice, by the agent's command; where it is so already, nothing changes."""
    what = _what(act, model, gpu)
    with progress() as bar:
        bar.add_task(f"{what.value} of {printable(model)}", total=None)
        outcome = asyncio.run(_outcome(what, model, agent, token_file, gpu, Slice(profile, start)))
    if as_json:
        from controlplane.act.mig.documents import copy_document

        print_json(copy_document(outcome))
    else:
        where = f"{profile} at {start} of {gpu}"
        said = f": {outcome.detail}" if outcome.detail else ""
        line = printable(f"{what.value} of {model} on {where}: {outcome.state.value}{said}")
        (print if outcome.state is CopyState.DONE else complain)(line)
    if outcome.state is not CopyState.DONE:
        raise typer.Exit(1)


def _what(act: str, model: str, gpu: str) -> Act:
    """What is asked for. Raises ConfigurationError with every fault of it."""
    from controlplane.config.faults import one_of, shown

    known = {one.value: one for one in _ACTS}
    faults = [Fault("ACT", shown(act), one_of(act, tuple(known)))] if act not in known else []
    faults += [Fault(of, "nothing", "it is required") for of, given in (("MODEL", model), ("--gpu", gpu)) if not given]
    if faults:
        raise ConfigurationError("command line", tuple(faults))
    return known[act]


async def _outcome(act: Act, model: str, agent: str, token_file: Path, gpu: str, piece: Slice) -> CopyOutcome:
    agents = agents_at([agent], token_file)
    try:
        while (outcome := await agents.run(agent, act, gpu, piece, model)).state is CopyState.WAITING:
            pass
        return outcome
    finally:
        await agents.close()
