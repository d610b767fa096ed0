"""The agents that a command of `controlplane mig` names, and their GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.domain.errors import ConfigurationError, Fault
from controlplane.domain.mig import GpuLayout, Slice

if TYPE_CHECKING:
    from controlplane.act.mig.agents import MigAgents
    from controlplane.decide.mig import Board


def agents_at(urls: Sequence[str], token_file: Path) -> MigAgents:
    """The agents, each by its URL. Raises ConfigurationError."""
    from controlplane.act.mig.agents import MigAgents
    from controlplane.collect.token_file import read_token

    faults = [
        Fault("--agent", url, "http(s)://HOST[:PORT] is allowed")
        for url in urls
        if not url.startswith(("http://", "https://"))
    ]
    try:
        read_token(str(token_file))
    except ValueError as error:
        faults.append(Fault("--token-file", str(token_file), "a readable file that holds one token", str(error)))
    if faults:
        raise ConfigurationError("command line", tuple(faults))
    told = f"--token-file {token_file}"
    return MigAgents({url: url for url in urls}, lambda: read_token(str(token_file)), source=told)


def drawable(board: Board, gpu: GpuLayout) -> tuple[Slice, ...]:
    """The slices for which the board has a place: what only the driver knows cannot be drawn."""
    places = board.placements()
    return tuple(piece for piece in gpu.layout if piece in places)
