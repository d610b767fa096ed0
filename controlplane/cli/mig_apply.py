"""controlplane mig apply: layouts carried out by the agents of the GPUs' nodes; shown only, until --yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.mig_agents import agents_at, drawable
from controlplane.cli.options import Json
from controlplane.cli.output import counted, print_json
from controlplane.cli.progress import progress
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.mig import GpuLayout, LayoutOutcome, LayoutState, MigActuator

if TYPE_CHECKING:
    from rich.console import RenderableType

    from controlplane.decide.mig import Gpu

_WELL = {LayoutState.PLANNED, LayoutState.DONE}


@dataclass(frozen=True, slots=True)
class _Change:
    """A GPU with the layout that it is to have, where it is, how it is now, and what came of it."""

    gpu: Gpu
    node: str
    now: GpuLayout
    outcome: LayoutOutcome


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply_layouts)


def apply_layouts(
    *,
    input_: Annotated[Path, typer.Option("--input", help="What `mig plan --json` told, or another file of `layouts`.")],
    agents: Annotated[list[str], typer.Option("--agent", help="URL of the agent of a node, started with --mig.")],
    token_file: Annotated[Path, typer.Option("--token-file", help="File that holds the agents' bearer token.")],
    yes: Annotated[bool, typer.Option("--yes", help="Change the GPUs; without it the steps are only shown.")] = False,
    as_json: Json = False,
) -> None:
    """Show the steps to the layouts in a file, and with --yes cut the GPUs so.

    Slices that stay are not touched. A GPU of which somebody uses what would go is left as it is.
    """
    from controlplane.config.mig.plan_file import load_layouts

    gpus = load_layouts(input_)
    actuator = agents_at(agents, token_file)
    with progress() as bar:
        task = bar.add_task("cutting GPUs" if yes else "asking agents", total=len(gpus))
        changes = asyncio.run(_changes(actuator, agents, gpus, dry_run=not yes, done=lambda: bar.advance(task)))
    if as_json:
        print_json({"dry_run": not yes, "gpus": [_document(change) for change in changes]})
    else:
        from controlplane.cli.tables import show

        show(*_parts(changes, dry_run=not yes))
    if any(change.outcome.state not in _WELL for change in changes):
        raise typer.Exit(1)


async def _changes(
    actuator: MigActuator, nodes: Sequence[str], gpus: Sequence[Gpu], *, dry_run: bool, done: Callable[[], None]
) -> list[_Change]:
    """Every GPU is asked about first, and none is changed where one cannot be; the first that fails is the last."""
    try:
        where = {gpu.uuid: (node, gpu) for node in nodes for gpu in await actuator.layouts(node) if gpu.uuid}
        changes = []
        for gpu in sorted(gpus, key=lambda gpu: gpu.uuid):
            node, now = _found(gpu, where)
            outcome = await actuator.apply(node, gpu.uuid, gpu.layout, dry_run=True)
            changes.append(_Change(gpu, node, now, outcome))
        if dry_run or any(change.outcome.state is not LayoutState.PLANNED for change in changes):
            return changes
        for at, change in enumerate(changes):
            outcome = await actuator.apply(change.node, change.gpu.uuid, change.gpu.layout, dry_run=False)
            changes[at] = replace(change, outcome=outcome)
            done()
            if outcome.state not in {LayoutState.DONE, LayoutState.RESET_REQUIRED}:
                break
        return changes
    finally:
        await actuator.close()


def _found(gpu: Gpu, where: Mapping[str, tuple[str, GpuLayout]]) -> tuple[str, GpuLayout]:
    if gpu.uuid not in where:
        raise NotFoundError("GPU of these agents", gpu.uuid, tuple(sorted(where)))
    node, now = where[gpu.uuid]
    if now.board not in {"", gpu.board.key}:
        raise ConflictError(f"GPU {gpu.uuid}: the file says {gpu.board.key}, and it is {now.board}")
    return node, now


def _parts(changes: Sequence[_Change], *, dry_run: bool) -> Iterator[RenderableType]:
    from controlplane.cli.mig_drawing import drawing
    from controlplane.cli.tables import escape, new_table

    gpus = [change.gpu for change in changes]
    there = {(c.gpu.uuid, cut.piece.profile, cut.piece.start): cut.processes for c in changes for cut in c.now.slices}
    yield "now"
    yield drawing(gpus, {c.gpu.uuid: drawable(c.gpu.board, c.now) for c in changes}, there)
    yield "as asked for"
    yield drawing(gpus, {gpu.uuid: gpu.layout for gpu in gpus}, {})
    table = new_table("steps", "GPU", "what", "slice", "MIG device", "")
    rows = [(change, step) for change in changes for step in change.outcome.steps]
    for change, step in rows:
        cells = (change.gpu.uuid, step.act.value, f"{step.piece.profile} at {step.piece.start}", step.uuid)
        table.add_row(*map(escape, cells), escape(step.note) if step.done or dry_run else "[yellow]not done[/]")
    if rows:
        yield table
    for change in changes:
        if change.outcome.detail:
            yield f"[red]{change.outcome.state.value}[/]: {escape(change.gpu.uuid)}: {escape(change.outcome.detail)}"
    done = sum(step.done for _, step in rows)
    yield f"{counted(len(rows), 'step')}, {done} done" + ("; --yes does them" if dry_run and rows else "")


def _document(change: _Change) -> dict[str, Any]:
    from controlplane.act.mig.documents import layout_document, outcome_document, piece_document

    return {
        "uuid": change.gpu.uuid,
        "board": change.gpu.board.key,
        "agent": change.node,
        "before": layout_document(change.now)["layout"],
        "layout": [piece_document(piece) for piece in change.gpu.layout],
        **{key: value for key, value in outcome_document(change.outcome).items() if key != "gpu"},
    }
