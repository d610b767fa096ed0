"""GPUs that are out of service since they wait for a reset."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.mig.asked import Occupied
from controlplane.domain.signal import Known, Stale


class ResetWaits:
    """Which GPUs wait, of those that might be cut but for that, from when it is read until it is read otherwise.

    For the reset the agent that tells it is ended, and what is not told meanwhile says nothing.
    """

    def __init__(self) -> None:
        self._waits: dict[str, bool] = {}

    @property
    def uuids(self) -> frozenset[str]:
        """Those that wait."""
        return frozenset(uuid for uuid, waits in self._waits.items() if waits)

    def note(self, gpus: Sequence[Occupied]) -> None:
        """Take what these readings tell of it; a stale one only of a GPU of which nothing was told before."""
        for one in gpus:
            match one.waits_for_reset:
                case Known(waits):
                    self._waits[one.gpu.reading.uuid] = waits
                case Stale(waits):
                    self._waits.setdefault(one.gpu.reading.uuid, waits)
