from itertools import pairwise
from pathlib import Path

import pytest

from controlplane.demo.load_plan import LoadPlan, Profile, profile_from_text, read_plan

STEP = Profile(((0, 10), (20, 10), (20, 50), (40, 30)))


@pytest.mark.parametrize(("at_s", "per_s"), [(-1, 10), (0, 10), (19.9, 10), (20, 50), (30, 40), (40, 30), (99, 30)])
def test_the_rate_follows_the_lines_and_stays_level_outside_them(at_s: float, per_s: float) -> None:
    assert STEP.rate_at(at_s) == pytest.approx(per_s)


def test_arrivals_are_as_many_as_the_rate_says_in_every_part() -> None:
    arrivals = list(Profile(((0, 0), (100, 200), (100, 50), (200, 50))).arrivals("seed", 200))

    assert arrivals == sorted(arrivals)
    ramp = [t for t in arrivals if t < 100]
    level = [t for t in arrivals if t >= 100]
    assert len(ramp) == pytest.approx(10_000, abs=400)  # four standard deviations of a Poisson count
    assert len(level) == pytest.approx(5_000, abs=283)
    assert len([t for t in ramp if t < 50]) == pytest.approx(2_500, abs=200)


def test_gaps_between_arrivals_vary_as_a_poisson_process_does() -> None:
    arrivals = list(Profile(((0, 100),)).arrivals("seed", 100))
    gaps = [b - a for a, b in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)

    assert variance / mean**2 == pytest.approx(1, abs=0.1)


def test_the_same_seed_gives_the_same_arrivals_and_another_gives_others() -> None:
    assert list(STEP.arrivals("1/a", 40)) == list(STEP.arrivals("1/a", 40))
    assert list(STEP.arrivals("1/a", 40)) != list(STEP.arrivals("1/b", 40))


def test_a_rate_of_zero_gives_no_arrivals() -> None:
    assert list(Profile(((0, 0),)).arrivals("seed", 1000)) == []


@pytest.mark.parametrize("points", [(), ((5, 1), (4, 1)), ((0, -1),)])
def test_a_profile_without_points_or_that_goes_back_or_below_zero_is_refused(
    points: tuple[tuple[float, float], ...],
) -> None:
    with pytest.raises(ValueError, match="profile"):
        Profile(points)


def test_a_profile_is_read_from_text() -> None:
    assert profile_from_text("0:5,30:5,60:80") == Profile(((0, 5), (30, 5), (60, 80)))
    with pytest.raises(ValueError, match="second:rate"):
        profile_from_text("0-5")


def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    plan = LoadPlan("h:1", {"a": STEP}, 40, api="http://h:2", metrics_port=9, inputs={"a": (1, 2, 3, 4)})
    plan.write(tmp_path / "plan.json")

    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("text", ["[]", "{}", '{"profiles": {"a": 3}}', "nonsense"])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)

    with pytest.raises(ValueError):
        read_plan(tmp_path / "plan.json")
