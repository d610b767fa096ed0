"""Whatever happens: batching is changed only where that was asked for, inside the model's own bounds, by one owner."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.batching import BatchingKnobs, BatchingUse
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from tests.unit.decide.tuned import ALONE, NOW, SPEC, Tuned

UNTIL = NOW + 1e6
FREEZES = [Freeze("f", "", direction, "ada", "incident", NOW, UNTIL) for direction in FreezeDirection]
PIN = Override("o", "m", OverrideKind.PIN, "ada", "demo", NOW, UNTIL, instances=1)

files = st.sampled_from(
    [ALONE, BatchingKnobs(8), BatchingKnobs(8, max_queue_delay_s=0.1), BatchingKnobs(1, dynamic=False)]
)
happenings = st.tuples(
    st.sampled_from(
        ["nothing", "restart", "fail", "mend", "freeze", "thaw", "pin", "unpin", "somebody", "lag", "calm"]
    ),
    st.floats(30.0, 1200.0),
)


def _happen(model: Tuned, what: str) -> None:
    match what:
        case "restart":
            model.restart()
        case "fail" | "mend":
            model.fails = FailureClass.OUT_OF_MEMORY if what == "fail" else None
        case "freeze" | "thaw":
            model.freezes = (FREEZES[len(model.steps) % len(FREEZES)],) if what == "freeze" else ()
        case "pin" | "unpin":
            model.overrides = (PIN,) if what == "pin" else ()
        case "somebody":
            model.knobs = BatchingKnobs(8, max_queue_delay_s=0.002)
        case "lag":
            model.takes = not model.takes
        case "calm":
            model.waiting = 40 - model.waiting


@given(
    file=files,
    batched_per_s=st.sampled_from([4.0, 20.0, 39.0, 100.0, 200.0]),
    use=st.sampled_from([BatchingUse.ACT, BatchingUse.ACT, BatchingUse.ADVISE]),
    mode=st.sampled_from([Mode.ACT, Mode.ACT, Mode.RECOMMEND, Mode.OBSERVE]),
    happens=st.lists(happenings, max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_batching_is_set_only_where_asked_for_inside_bounds_and_never_against_a_person(
    file: BatchingKnobs, batched_per_s: float, use: BatchingUse, mode: Mode, happens: list[tuple[str, float]]
) -> None:
    model = Tuned(spec=replace(SPEC, batching=use, mode=mode), file=file, batched_per_s=batched_per_s)
    for what, seconds in [("nothing", 960.0), *happens]:
        _happen(model, what)
        until = model.now + seconds
        while model.now < until:
            before, taken = model.knobs, len(model.steps)
            decision = model.tick()
            assert len({r.code for r in decision.reasons} & {ReasonCode.UNDO, ReasonCode.RECONCILE}) <= 1
            for step in model.steps[taken:]:
                if step.step is not Step.CONFIGURE:
                    continue
                assert (use, mode) == (BatchingUse.ACT, Mode.ACT)
                assert step.target is not None
                assert step.current is not None
                assert step.target.batching is not None
                assert step.target.instances == step.current.instances
                assert step.target.batching.max_batch_size == file.max_batch_size
                assert step.target.batching != before
                assert step.target.batching.max_queue_delay_s <= max(file.max_queue_delay_s, before.max_queue_delay_s)
                assert step.binding is ReasonCode.RECONCILE or not (model.freezes or model.overrides)
