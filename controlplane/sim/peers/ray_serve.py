"""Ray Serve's autoscaler on ongoing requests.

Source: ray-project/ray, python/ray/serve/autoscaling_policy.py, _private/autoscaling_state.py; defaults of
AutoscalingConfig: look back 30 s, up after 30 s, down after 600 s, smoothing 1.
"""

from __future__ import annotations

import math

from controlplane.sim.peers.policy import History, current, in_flight, ready

_LOOK_BACK_S = 30.0
_UP_DELAY_S, _DOWN_DELAY_S = 30.0, 600.0


class RayServe:
    """Desired = ceil(ongoing and queued requests of 30 s / target), once every decision of the delay said so.

    Its loop turns every 0.1 s and counts decisions; here it counts every 5 s for the same delay. Knob:
    target_ongoing_requests.
    """

    interval_s = 5.0

    def __init__(self, knob: float) -> None:
        self._target = knob
        self._count = 0
        """Decisions in a row that wanted more (positive) or fewer (negative)."""

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        signals = history.now
        asked = current(signals)
        requests = history.mean(_LOOK_BACK_S, lambda at: float(at.queued + in_flight(at.replicas)))
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
