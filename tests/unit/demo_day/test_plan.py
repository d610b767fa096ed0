import pytest

from controlplane.demo.day_plan import BURST, MODELS, SHARED, SHORTEST_S, SLEEPER, compressed_day

DURATIONS_S = (SHORTEST_S, 120.0, 180.0, 900.0)


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_phases_follow_one_another_inside_the_day(duration_s: float) -> None:
    day = compressed_day(duration_s)
    starts = [at_s for at_s, _ in day.phases]

    assert starts == sorted(starts)
    assert starts[0] == 0
    assert starts[-1] < duration_s
    assert day.phase_at(-1) == day.phase_at(0) == "quiet"
    assert day.phase_at(duration_s) == day.phases[-1][1]


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_the_burst_needs_three_instances_and_quiet_needs_one(duration_s: float) -> None:
    # BERT's published line: a full batch of 8 takes 2.58 + 8 * 13.691 ms, so that one instance serves 71 a second.
    one_per_s = 8 / (0.00258 + 8 * 0.013691)
    day = compressed_day(duration_s)
    load = day.profiles[BURST.name]

    assert 2 * one_per_s < load.rate_at(0.35 * duration_s) < BURST.instances_max * one_per_s
    assert load.rate_at(0) < one_per_s / 2
    assert load.rate_at(duration_s) < one_per_s / 2


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_the_rush_asks_a_little_more_than_the_shared_gpu_can_give(duration_s: float) -> None:
    # Six tenths of an execution hold the GPU: it serves at most as much as 1 / 0.6 instances would alone.
    device_per_s = 8 / (10 * (0.00237 + 8 * 0.00081)) / 0.6
    load = compressed_day(duration_s).profiles[SHARED.name]

    assert device_per_s < load.peak_per_s < 1.15 * device_per_s


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_the_sleeper_is_not_asked_for_while_the_others_are_busy(duration_s: float) -> None:
    day = compressed_day(duration_s)
    load = day.profiles[SLEEPER.name]
    arrivals = list(load.arrivals("1/sleeper", duration_s))

    assert load.rate_at(0) > 0
    assert not [at_s for at_s in arrivals if day.last_asked_s < at_s < day.asked_again_s]
    assert [at_s for at_s in arrivals if at_s > day.asked_again_s]


def test_models_that_share_a_gpu_say_so() -> None:
    assert {m.name: m.device for m in MODELS if m.device} == {SHARED.name: "gpu0", SLEEPER.name: "gpu0"}
