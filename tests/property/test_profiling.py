"""Fits of exact points are exact, and a profile gives way to what is learned."""

from __future__ import annotations

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from controlplane.decide.learning import curve
from controlplane.decide.profiling import BatchPoint, Load, Origin, TokenPoint, batch_of, fit_batches, fit_tokens
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.state import BatchSum

seconds = st.floats(1e-4, 1.0)
rates = st.floats(1e-5, 0.1)
sizes = st.sets(st.integers(1, 64), min_size=2, max_size=8)
ORIGIN = Origin("a test", 0.0)


def near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


@given(seconds, rates, sizes, st.integers(1, 8))
def test_the_fit_of_exact_batches_is_exact(fixed_s: float, per_item_s: float, seen: set[int], instances: int) -> None:
    """Whether they were counted, or follow from loads."""
    assume(max(seen) > 1.1 * min(seen))
    points = [BatchPoint(size, fixed_s + per_item_s * size, 5) for size in seen]
    loads = [Load(2 * instances * p.size, instances * p.size / p.service_s, compute_s=p.service_s) for p in points]
    inferred = [batch_of(load, 64, instances) for load in loads]
    for made in (points, [point for point in inferred if point is not None]):
        profile = fit_batches(made, max_batch=64, instances=instances, origin=ORIGIN)
        assert near(profile.service_s(1), fixed_s + per_item_s)
        assert near(profile.service_s(64), fixed_s + 64 * per_item_s)
        assert profile.relative_error < 1e-6


@given(seconds, rates, st.sets(st.integers(1, 256), min_size=2, max_size=8), st.floats(1, 1e4))
def test_the_fit_of_exact_token_times_is_exact(
    base_s: float, per_running_s: float, loads: set[int], prompt_tokens: float
) -> None:
    assume(max(loads) > 1.1 * min(loads))
    points = [
        TokenPoint(n, 0.1 + 15 * (itl_s := base_s + per_running_s * n), 0.1, itl_s, prompt_tokens, 16) for n in loads
    ]
    profile = fit_tokens(points, origin=ORIGIN)
    assert near(profile.itl_s(300), base_s + 300 * per_running_s)
    assert near(profile.prefill_s(prompt_tokens), 0.1)


@given(seconds, rates, seconds, rates, st.integers(2, 64))
def test_a_profile_however_wrong_gives_way_to_what_is_learned(
    fixed_s: float, per_item_s: float, wrong_fixed_s: float, wrong_per_item_s: float, max_batch: int
) -> None:
    prior = BatchProfile(wrong_fixed_s, wrong_per_item_s, max_batch, 1, "a test", 0.0, 2, 0.0)

    def off(executions: float) -> float:
        """How far the fit is from the truth, in full batches, after so many executions of both sizes."""
        truth = {size: fixed_s + per_item_s * size for size in (1, max_batch)}
        found = curve([BatchSum(size, 1, executions, executions * s) for size, s in truth.items()], max_batch, prior)
        assert found is not None
        return max(abs(found.line(1).service_s(size) - s) for size, s in truth.items()) / truth[max_batch]

    few, some, many = off(10.0), off(200.0), off(2000.0)
    assert many <= some + 1e-9
    assert some <= few + 1e-9
    assert many <= 0.02


@given(seconds, rates, st.integers(1, 64), st.floats(0, 2000))
def test_a_true_profile_changes_nothing(fixed_s: float, per_item_s: float, max_batch: int, executions: float) -> None:
    prior = BatchProfile(fixed_s, per_item_s, max_batch, 1, "a test", 0.0, 2, 0.0)
    sums = [BatchSum(size, 1, executions, executions * prior.service_s(size)) for size in {1, max_batch}]
    found = curve(sums, max_batch, prior)
    assert found is not None
    assert near(found.line(1).service_s(max_batch), prior.service_s(max_batch))
