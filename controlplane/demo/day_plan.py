"""The compressed day: which load comes when, what each model is there to show, and how the control plane is set."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.demo.load_plan import Profile

SHORTEST_S = 90.0
"""Below this the day's parts would be shorter than a start-up and the dwell times together."""


@dataclass(frozen=True, slots=True)
class DemoModel:
    """One model of the demo: what it shows, its latency objective and its bounds."""

    name: str
    about: str
    threshold_s: float
    target: float
    instances_min: int
    instances_max: int
    device: str = ""
    sleeps: bool = False
    """Unloaded when idle, loaded again when asked for."""


BURST = DemoModel(
    "bert_classifier", "A text classifier with a GPU to itself. The burst is on this one.", 0.3, 0.95, 1, 6
)
SHARED = DemoModel(
    "resnet50_detector",
    "An image model on a GPU that it shares. For a while it is asked for more than that GPU can give.",
    0.4,
    0.90,
    1,
    6,
    device="gpu0",
)
SLEEPER = DemoModel(
    "deepfm_recommender",
    "A recommender on the shared GPU. Nobody asks for it through most of the day.",
    0.3,
    0.95,
    0,
    3,
    device="gpu0",
    sleeps=True,
)
MODELS = (BURST, SHARED, SLEEPER)


@dataclass(frozen=True, slots=True)
class Day:
    """Load profiles by model, the phases as (second, name), and the moments by which the outcome is judged."""

    duration_s: float
    profiles: dict[str, Profile]
    phases: tuple[tuple[float, str], ...]
    burst_starts_s: float
    burst_ends_s: float
    last_asked_s: float
    asked_again_s: float

    def phase_at(self, at_s: float) -> str:
        """The name of the phase at a time."""
        return next((name for start_s, name in reversed(self.phases) if start_s <= at_s), self.phases[0][1])


def compressed_day(duration_s: float) -> Day:
    """The day, scaled to a duration in seconds.

    The burst needs three to four instances of the first model (one serves some 70 requests a second). The rush asks
    the shared "GPU" for a little more than the 150 a second that it can give however many instances there are.
    """

    def profile(*points: tuple[float, float]) -> Profile:
        return Profile(tuple((share * duration_s, per_s) for share, per_s in points))

    return Day(
        duration_s=duration_s,
        profiles={
            BURST.name: profile((0, 25), (0.12, 25), (0.26, 170), (0.46, 170), (0.48, 25), (1, 25)),
            SHARED.name: profile((0, 12), (0.52, 12), (0.55, 160), (0.74, 160), (0.76, 12), (1, 12)),
            SLEEPER.name: profile((0, 8), (0.11, 8), (0.11, 0), (0.82, 0), (0.82, 8), (1, 8)),
        },
        phases=tuple(
            (share * duration_s, name)
            for share, name in (
                (0.0, "quiet"),
                (0.12, "ramp"),
                (0.26, "burst"),
                (0.46, "quiet"),
                (0.52, "rush on the shared GPU"),
                (0.76, "quiet"),
                (0.82, "the sleeper is asked for"),
            )
        ),
        burst_starts_s=0.12 * duration_s,
        burst_ends_s=0.46 * duration_s,
        last_asked_s=0.11 * duration_s,
        asked_again_s=0.82 * duration_s,
    )
