"""decide() over a large fleet, as a share of the interval between two decisions."""

from __future__ import annotations

from bench.figure import Figure
from bench.fleet import SCRAPE_S, START, snapshot
from bench.timing import best_s
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.state import PolicyState

MODELS = 1000
INTERVAL_S = 15.0
_GOAL_SHARE = 0.05


def run() -> Figure:
    """One tick's decisions for 1,000 models, with everything already learned once."""
    policy = Policy()
    _, state = decide(snapshot(MODELS, START), PolicyState(), policy, START)
    now = START + INTERVAL_S
    world = snapshot(MODELS, now)
    took_s = best_s(lambda: decide(world, state, policy, now))
    share = took_s / INTERVAL_S
    return Figure(
        f"decide for {MODELS} models",
        f"{share:.1%} of the {INTERVAL_S:g} s interval ({took_s * 1000:.0f} ms)",
        f"at most {_GOAL_SHARE:.0%} on one core",
        share <= _GOAL_SHARE,
        {"seconds": took_s, "models": MODELS, "share_of_interval": share, "scrape_s": SCRAPE_S},
    )
