"""What the form of `mig` alone cannot tell: names that must meet, and times."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.faults import join, one_of, shown
from controlplane.config.mig.block import MigBlock, OperatorBlock
from controlplane.config.mig.boards import boards
from controlplane.config.mig.several import several_gpus
from controlplane.config.reading import Document
from controlplane.config.units import format_duration, format_share
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import Mode
from controlplane.domain.mig import WHOLE
from controlplane.domain.sources import AgentKind

_OPERATORS_OWN = "default-mig-parted-config"
"""The ConfigMap that the GPU operator makes and keeps as it wants it."""


def check_mig(document: Document) -> Iterator[Fault]:
    """Faults of meaning."""
    mig = document.root.mig
    if mig is None:
        return
    yield from _check_amounts(mig)
    if mig.mode is Mode.ACT:
        yield from _check_acting(mig, document)
    if mig.operator is not None:
        yield from _check_operator(mig.operator)
    yield from _check_agents(mig, document)
    yield from _check_models(mig, document)


def _check_operator(operator: OperatorBlock) -> Iterator[Fault]:
    """What the GPU operator would undo."""
    if operator.config_map == _OPERATORS_OWN:
        allowed = "one that the ClusterPolicy names as migManager.config.name: the operator writes over its own"
        yield Fault("mig.operator.config_map", shown(_OPERATORS_OWN), allowed)


def _check_agents(mig: MigBlock, document: Document) -> Iterator[Fault]:
    agents = tuple(part.item.name for part in document.agents)
    for i, name in enumerate(mig.agents or ()):
        if name in (mig.agents or ())[:i]:
            yield Fault(join("mig.agents", i), shown(name), "each agent once")
        elif name not in agents:
            yield Fault(join("mig.agents", i), shown(name), f"the name of an agent: {one_of(name, agents)}")
        elif mig.mode is Mode.ACT and name in _dcgm(document):
            yield Fault(join("mig.agents", i), shown(name), "an agent of kind agent in mode act: DCGM cuts nothing")


def _check_models(mig: MigBlock, document: Document) -> Iterator[Fault]:
    models = tuple(part.item.name for part in document.models)
    several = several_gpus(document)
    first: dict[str, int] = {}
    for i, item in enumerate(mig.models):
        path = join("mig.models", i, "name")
        if item.name not in models:
            yield Fault(path, shown(item.name), f"the name of a model: {one_of(item.name, models)}")
        elif first.setdefault(item.name, i) != i:
            yield Fault(path, shown(item.name), f"each model once; mig.models[{first[item.name]}] is the same")
        served = [name for name, per_s in item.profiles.items() if per_s > 0]
        most = max(map(_most_gib, served), default=item.memory_gib)
        if most < item.memory_gib:
            allowed = f"at most {most:.4g}, what the largest of its profiles has: on none of them a copy could serve"
            yield Fault(join("mig.models", i, "memory_gib"), f"{item.memory_gib:g}", allowed)
        if item.name in several:
            workload, gpus = several[item.name]
            why = f"{workload} has {gpus} GPUs per replica, and there is no tensor parallel over MIG slices"
            allowed = f"whole GPUs only (`whole`, or 0 here): {why}"
            for profile in (name for name in served if name != WHOLE):
                yield Fault(join("mig.models", i, "profiles", profile), f"{item.profiles[profile]:g}", allowed)


def _most_gib(profile: str) -> float:
    """The memory of a profile on the board that has most for it."""
    found = ((board, board.profile(profile)) for board in boards().values())
    return max(board.memory_gib(one.name) for board, one in found if one is not None)


def _check_amounts(mig: MigBlock) -> Iterator[Fault]:
    """One has to be within another."""
    if mig.dwell < mig.every:
        yield Fault("mig.dwell", format_duration(mig.dwell), f"at least mig.every ({format_duration(mig.every)})")
    if mig.max_plan_share < mig.max_share:
        allowed = f"at least mig.max_share ({format_share(mig.max_share)})"
        yield Fault("mig.max_plan_share", format_share(mig.max_plan_share), allowed)


def _check_acting(mig: MigBlock, document: Document) -> Iterator[Fault]:
    """Who is to cut has to be there: agents with their token, which also tell the operator's GPUs."""
    if not {part.item.name for part in document.agents} - _dcgm(document):
        yield Fault("mig.mode", "act", "only with an entry in agents: they cut, and tell how GPUs are cut")
    if mig.token_file is None:
        allowed = "with mode act the file that holds the token of the agents, started with --mig --token-file"
        yield Fault("mig.token_file", "nothing", allowed)


def _dcgm(document: Document) -> set[str]:
    return {part.item.name for part in document.agents if part.item.kind is AgentKind.DCGM}
