import io

import pytest
from rich.console import Console

from controlplane.api.views.decisions import DecisionRecordView
from controlplane.demo.day_plan import BURST
from controlplane.demo.view import LiveView, PlainView, view_for
from controlplane.domain.decision import Step
from tests.unit.demo_day.runs import lived_day, record


def test_without_a_terminal_progress_goes_to_standard_error_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    recorder, day = lived_day()
    new = recorder.changes(
        [DecisionRecordView.of_record(record(30, BURST.name, Step.SET_INSTANCES, 1, 3)).model_dump(mode="json")]
    )
    view = view_for(day, json=False)
    assert isinstance(view, PlainView)

    with view:
        view.second(31.0, recorder, new)
        view.second(40.0, recorder, [])

    out, err = capsys.readouterr()
    assert out == ""
    decision, models = err.splitlines()
    assert decision.startswith("0:30  decision  bert_classifier: 1 -> 3 instances")
    assert models.startswith("0:40  burst")
    assert "bert 20/s p95 100 ms, 1 instance;" in models


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_table_fits_any_terminal(width: int) -> None:
    recorder, day = lived_day(wakes=False)
    recorder.changes(
        [DecisionRecordView.of_record(record(30, BURST.name, Step.SET_INSTANCES, 1, 3)).model_dump(mode="json")]
    )
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, color_system=None)

    with LiveView(console, day) as view:
        view.say("a line above")
        view.second(149.0, recorder, recorder.marks)

    text = shown.getvalue()
    assert "a line above" in text
    assert "2:29 of 2:30" in text
    if width == 80:
        assert len({line for line in text.splitlines() if line.startswith("│")}) == 3, "one line for each model"
    if width == 200:
        assert "not loaded" in text
        assert "1 -> 3 instances" in text
