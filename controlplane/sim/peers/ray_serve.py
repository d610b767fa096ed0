"""Ray Serve's autoscaler on ongoing requests.

Source: ray-project/ray, python/ray/serve/autoscaling_policy.py, _private/autoscaling_state.py; defaults of
AutoscalingConfig: look back 30 s, up after 30 s, down after 600 s, smoothing 1.
"""

from __future__ import annotations

import math

from controlplane.sim.peers.policy import History, current, in_flight, queued, read, ready
from controlplane.sim.signals import Gateway, Reading

_LOOK_BACK_S = 30.0
_UP_DELAY_S, _DOWN_DELAY_S = 30.0, 600.0


class RayServe:
    """Desired = ceil(ongoing and queued requests of 30 s / target), once every decision of the delay said so.

    Its loop turns every 0.1 s and counts decisions; here it counts every 5 s for the same delay. Of a replica that
    reports nothing the last report holds. Knob: target_ongoing_requests.
    """

    interval_s = 5.0

    def __init__(self, knob: float) -> None:
        self._target = knob
        self._count = 0
        """Decisions in a row that wanted more (positive) or fewer (negative)."""
        self._reported: dict[int, int] = {}
        self._queued = 0
        self._ongoing: list[tuple[float, float]] = []

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        asked = current(signals)
        requests = self._mean(history)
        running = len(ready(signals))
        if running == 0:
            return max(1, asked) if requests > 0 else asked
        desired = math.ceil(round(running * (requests / (self._target * running)), 9))
        if desired == asked:
            self._count = 0
            return asked
        direction = 1 if desired > asked else -1
        self._count = (self._count if self._count * direction > 0 else 0) + direction
        if abs(self._count) <= int((_UP_DELAY_S if direction > 0 else _DOWN_DELAY_S) / self.interval_s):
            return asked
        self._count = 0
        return desired

    def _mean(self, history: History) -> float:
        """Mean of ongoing and queued requests over the look back."""
        taken_in_s = self._ongoing[-1][0] if self._ongoing else -math.inf
        window = history.within(_LOOK_BACK_S)
        self._ongoing = [one for one in self._ongoing if one[0] >= window[0].at_s]
        self._ongoing += [(reading.at_s, self._report(reading)) for reading in window if reading.at_s > taken_in_s]
        return sum(requests for _, requests in self._ongoing) / len(self._ongoing)

    def _report(self, reading: Reading) -> float:
        if isinstance(reading.gateway, Gateway):
            self._queued = queued(reading)
        reported = self._reported | {replica.id: in_flight((replica,)) for replica in read(reading)}
        self._reported = {replica.id: reported.get(replica.id, 0) for replica in reading.replicas}
        return float(self._queued + sum(self._reported.values()))
