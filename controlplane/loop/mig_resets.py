"""GPUs that are out of service since they wait for a reset, over restarts too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from controlplane.decide.mig.asked import Occupied
from controlplane.domain.signal import Known, Stale

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class _Told:
    """Whether a GPU of a node waited when it was read last."""

    waits: bool
    node: str
    at: float


class ResetWaits:
    """Which GPUs wait, of those that might be cut but for that, from when it is read until it is read otherwise.

    For the reset the agent that tells it is ended, and what is not told meanwhile says nothing.
    """

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    @property
    def uuids(self) -> frozenset[str]:
        """Those that wait."""
        return frozenset(self.kept)

    @property
    def kept(self) -> dict[str, tuple[str, float]]:
        """Those that wait, by UUID, as PolicyState has them for the next process."""
        return {uuid: (told.node, told.at) for uuid, told in self._told.items() if told.waits}

    def note(self, gpus: Sequence[Occupied]) -> None:
        """Take what these readings tell of it; a stale one only of a GPU of which nothing was told before."""
        for one in gpus:
            uuid, node = one.gpu.reading.uuid, one.gpu.reading.node
            match one.waits_for_reset:
                case Known(waits, at):
                    self._told[uuid] = _Told(waits, node, at)
                case Stale(waits, at):
                    self._told.setdefault(uuid, _Told(waits, node, at))

    def take_over(self, kept: Mapping[str, tuple[str, float]], agents: Collection[str] | None, now: float) -> None:
        """What an earlier process, or another, was told last, where nothing newer was told here.

        Not of a node that is not among the `agents` any more, None: all are; nor after a day without a word, by which
        the GPU is likely no more there.
        """
        for uuid, (node, at) in kept.items():
            here = self._told.get(uuid)
            ours = agents is None or node in agents
            if ours and now - at < _DAY_S and (here is None or here.at < at):
                self._told[uuid] = _Told(True, node, at)  # noqa: FBT003
