"""How long readings are kept: as far back as anything that the configuration allows looks."""

from __future__ import annotations

from controlplane.decide.policy import Policy
from controlplane.loop.keep import keep_s


def test_by_default_five_minutes_are_kept() -> None:
    assert keep_s(15.0, Policy()) == 300.0


def test_rare_ticks_and_patient_policies_keep_more() -> None:
    assert keep_s(600.0, Policy()) == 2400.0
    assert keep_s(15.0, Policy(data_max_age_s=400.0)) == 800.0
    assert keep_s(15.0, Policy(settle_s=900.0)) == 1800.0
    assert keep_s(15.0, Policy(), grace_s=310.0) == 620.0
