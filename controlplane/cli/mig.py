"""controlplane mig: how GPUs are cut into MIG slices, how they should be, and cutting them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.client import path_of
from controlplane.cli.options import DEFAULT_URL, Json, TokenFile, Url, api_of
from controlplane.cli.output import libraries_on_stderr, print_json
from controlplane.cli.progress import progress
from controlplane.domain.errors import ConfigurationError, Fault

if TYPE_CHECKING:
    from controlplane.cli.mig_drawing import Named
    from controlplane.decide.mig import Gpu, MigPlan, MigQuestion
    from controlplane.decide.mig.layouts import Layout
    from controlplane.domain.mig import GpuLayout

app = typer.Typer(help="MIG layouts of GPUs: shown, planned and changed.", rich_markup_mode=None)

_Input = Annotated[Path, typer.Option("--input", help="The GPUs and models, in JSON or YAML.")]
_MaybeInput = Annotated[
    Path | None, typer.Option("--input", help="The GPUs and models, in JSON or YAML; default: ask a control plane.")
]


@app.command("show")
def show_layouts(
    *,
    input_: _MaybeInput = None,
    agents: Annotated[
        list[str] | None, typer.Option("--agent", help="URL of the agent of a node, started with --mig.")
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Draw the slices of each GPU: with the plan for them as a control plane has them; or of a file, or of agents."""
    notes: list[str] = []
    if input_ is not None and not agents:
        question = _question(input_)
        gpus, named = question.gpus, _models_now(question)
    elif agents and token_file is not None and input_ is None:
        gpus, named, notes = _gpus_now(agents, token_file)
    elif agents or input_ is not None:
        fault = Fault("what is shown", "this", "--input, or --agent with --token-file, or neither of them")
        raise ConfigurationError("command line", (fault,))
    else:
        _show_running(api_of(url, token_file).get(path_of("mig")), as_json=as_json)
        return
    if as_json:
        print_json({"gpus": [_gpu_document(gpu, gpu.layout) for gpu in gpus]})
        return
    from controlplane.cli.mig_drawing import drawing
    from controlplane.cli.tables import show

    show(drawing(gpus, {gpu.uuid: gpu.layout for gpu in gpus}, named), *notes)


def _show_running(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    from controlplane.cli.mig_running import running
    from controlplane.cli.tables import show

    show(*running(found))


@app.command("plan")
def plan_layouts(*, input_: _Input, as_json: Json = False) -> None:
    """Plan layouts on which models fit on the fewest or cheapest GPUs, and the steps to them. Nothing is changed."""
    question = _question(input_)
    from controlplane.decide.mig import plan

    with progress() as bar, libraries_on_stderr():
        bar.add_task("planning layouts", total=None)
        planned = plan(question)
    if as_json:
        print_json(document(question, planned))
        return
    from controlplane.cli.mig_drawing import drawing, plan_lines, steps_table
    from controlplane.cli.tables import show

    on: dict[tuple[str, str, int], list[str]] = {}
    for a in planned.assignments:
        on.setdefault((a.place.uuid, a.place.piece.profile, a.place.piece.start), []).append(a.model)
    show(drawing(question.gpus, planned.layouts, on), *steps_table(planned.steps), *plan_lines(planned))


def document(question: MigQuestion, planned: MigPlan) -> dict[str, Any]:
    """The plan as JSON."""
    cost = planned.cost
    return {
        "gpus_used": planned.gpus_used,
        "cost": cost.value,
        "bound": cost.bound,
        "gap": cost.gap,
        "optimal": planned.optimal,
        "layouts": [_gpu_document(gpu, planned.layouts[gpu.uuid]) for gpu in _sorted(question.gpus)],
        "assignments": [
            {
                "model": a.model,
                "uuid": a.place.uuid,
                "profile": a.place.piece.profile,
                "start": a.place.piece.start,
                "capacity": a.capacity,
                "share": a.share,
            }
            for a in planned.assignments
        ],
        "steps": [
            {
                "wave": step.wave,
                "action": step.act.value,
                "uuid": step.place.uuid,
                "profile": step.place.piece.profile,
                "start": step.place.piece.start,
                "model": step.model or None,
                "temporary": step.temporary,
                "interrupts": step.interrupts,
            }
            for step in planned.steps
        ],
        "unserved": [{"model": u.model, "short": u.short, "why": u.why.value} for u in planned.unserved],
        "goals": [{"name": g.name, "value": g.value, "bound": g.bound, "gap": g.gap} for g in planned.goals],
        "faults": list(planned.faults),
    }


def _question(path: Path) -> MigQuestion:
    from controlplane.config.mig.plan_file import load_question

    return load_question(path)


def _gpus_now(agents: Sequence[str], token_file: Path) -> tuple[tuple[Gpu, ...], Named, list[str]]:
    """The GPUs of agents whose boards are known, who computes on which slice, and what stands against changing them."""
    import asyncio

    from controlplane.cli.mig_agents import agents_at, drawable
    from controlplane.cli.tables import escape
    from controlplane.config.mig.boards import boards
    from controlplane.decide.mig import Gpu

    async def read() -> list[GpuLayout]:
        actuator = agents_at(agents, token_file)
        try:
            return [gpu for node in agents for gpu in await actuator.layouts(node)]
        finally:
            await actuator.close()

    found = asyncio.run(read())
    of = {gpu.uuid: boards()[gpu.board] for gpu in found if gpu.board in boards()}
    gpus = tuple(Gpu(gpu.uuid, of[gpu.uuid], drawable(of[gpu.uuid], gpu)) for gpu in found if gpu.uuid in of)
    named = {(gpu.uuid, cut.piece.profile, cut.piece.start): cut.processes for gpu in found for cut in gpu.slices}
    return gpus, named, [f"{escape(gpu.uuid or 'a GPU')}: {escape(gpu.why)}" for gpu in found if gpu.why]


def _models_now(question: MigQuestion) -> Named:
    return {
        (gpu.uuid, piece.profile, piece.start): list(names)
        for gpu in question.gpus
        for piece, names in gpu.models.items()
    }


def _sorted(gpus: Sequence[Gpu]) -> list[Gpu]:
    return sorted(gpus, key=lambda gpu: gpu.uuid)


def _gpu_document(gpu: Gpu, layout: Layout) -> dict[str, Any]:
    slices = [{"profile": p.profile, "start": p.start} for p in sorted(layout, key=lambda p: p.start)]
    return {"uuid": gpu.uuid, "board": gpu.board.key, "layout": slices}
