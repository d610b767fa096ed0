from __future__ import annotations

import re
from dataclasses import replace

import pytest

from controlplane.domain.alerts import Severity
from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective, Period
from controlplane.page import wording
from controlplane.page.plot import Frame
from controlplane.page.slo_events import event_pins, events
from controlplane.page.slo_report import render
from controlplane.slo.account import series, standing
from controlplane.slo.adjust import CountsOf
from controlplane.slo.report import (
    AlertSpan,
    Mark,
    MarkKind,
    ModelReport,
    ObjectiveReport,
    Promise,
    Standing,
    VersionSpan,
)
from tests.unit.demo_day.test_report import parsed

HOUR, DAY = 3600.0, 86400.0
NOW = 20_000 * DAY
OBJECTIVE = Objective(Indicator.LATENCY, 0.99, 10 * DAY, IndicatorSource.GATEWAY, 0.1)
KEY = OBJECTIVE.key


def counts_of(bad: int, unsure: int = 0, *, dark_from: float = NOW) -> CountsOf:
    def counts(since: float, until: float) -> Counts:
        hours = max(0.0, min(until, dark_from) - since) / HOUR
        good = 1000 - bad - unsure
        return Counts(round(good * hours), round(bad * hours), round(unsure * hours), hours * HOUR, hours * HOUR)

    return counts


def objective_report(bad: int = 5, unsure: int = 0, *, model: str = "bert", dark_from: float = NOW) -> ObjectiveReport:
    of = counts_of(bad, unsure, dark_from=dark_from)
    stands = standing(model, OBJECTIVE, of, (), NOW)
    starts = [NOW - 10 * DAY + n * HOUR for n in range(240)]
    whole = [(start, of(start, start + HOUR)) for start in starts]
    steps = series(OBJECTIVE, of, whole, (), since=NOW - 10 * DAY, until=NOW, step_s=HOUR)
    return ObjectiveReport(stands, HOUR, steps, (), ())


def model_report(*objectives: ObjectiveReport, **changes: object) -> ModelReport:
    found = ModelReport("bert", NOW, objectives or (objective_report(),), (), NOW - 10 * DAY, (), {})
    return replace(found, **changes)  # type: ignore[arg-type]


def page(*reports: ModelReport) -> str:
    return render([o.standing for report in reports for o in report.objectives], reports, NOW)


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.partition("</style>")[2]))  # spaces of any kind are one


def told(stands: Standing) -> str:
    return wording.objective(stands).replace("\N{NO-BREAK SPACE}", " ")


def scaled(at: float, kind: MarkKind = MarkKind.UP) -> Mark:
    return Mark(at, kind, "2 -> 3 instances: demand", f"de-{at:.0f}", "succeeded")


def test_the_page_is_one_file_that_needs_nothing_from_elsewhere() -> None:
    text = page(model_report(marks=(scaled(NOW - DAY),)))
    found = parsed(text)
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert "http" not in text
    assert "url(" not in text
    assert "<script" not in text
    drawn = " ".join(re.findall(r' (?:d|x|x1|width|style|value)="([^"]*)"', text))
    assert not re.search(r"nan|none|inf", drawn, re.IGNORECASE)


def test_what_people_and_configurations_call_things_stays_text() -> None:
    evil = """<script>alert('x')</script>"><img src=x onerror=alert(1)>"""
    alert = AlertSpan(Severity.PAGE, NOW - DAY, None, evil)
    report = replace(objective_report(model=evil), alerts=(alert,), judged_by=evil)
    report = replace(report, standing=replace(report.standing, objective=evil, model_version=evil))
    ratio = replace(report, standing=replace(report.standing, indicator=Indicator.RATIO, ratio=evil))
    made = (
        Adjustment("a1", NOW, evil, evil, AdjustmentKind.EXCLUDE, evil, evil, NOW - 2 * DAY, NOW - DAY),
        Adjustment("a2", NOW, evil, evil, AdjustmentKind.WITHDRAW, evil, withdraws="a1"),
    )
    marks = tuple(Mark(NOW - n * HOUR, kind, evil, evil, evil) for n in range(20) for kind in MarkKind)
    for found in ((report,), (ratio,)):
        text = page(model_report(*found, model=evil, marks=marks, adjustments=made, refused={evil: evil}))
        assert "<script" not in text
        assert "<img" not in text
        assert text.count("&lt;script&gt;") >= 60


@pytest.mark.parametrize(
    ("bad", "unsure", "verdict", "row"),
    [
        (5, 0, "1 of 1 promise kept", "✓ kept"),
        (15, 0, "0 of 1 promise kept", "✗ broken"),
        (5, 10, "0 of 1 promise kept", "? cannot be told"),
        (0, 1000, "0 of 1 promise kept", "? cannot be told"),
    ],
)
def test_the_summary_says_which_promises_were_kept(bad: int, unsure: int, verdict: str, row: str) -> None:
    told = text_of(page(model_report(objective_report(bad, unsure))))
    assert verdict in told
    assert row in told


def test_without_events_nothing_is_claimed() -> None:
    told = text_of(page(model_report(objective_report(dark_from=0.0))))
    assert "Nothing could be judged" in told
    assert "nothing counted" in told
    assert "0.0 %" in told, "and nothing of it was measured"


def test_the_worst_stands_first_and_models_without_a_section_are_named() -> None:
    kept, broken = objective_report(5, model="kept"), objective_report(15, model="broken")
    other = replace(kept.standing, model="aside")
    reports = [replace(model_report(o), model=o.standing.model) for o in (kept, broken)]
    html = render([kept.standing, broken.standing, other], reports, NOW)
    assert re.findall(r'<tr data-model="(\w+)"', html) == ["broken", "aside", "kept"]
    assert re.findall(r"<h2>(\w+)</h2>", html) == ["broken", "kept"]
    assert "1 more models stand in the table only" in html


def test_time_that_was_not_measured_is_shaded_and_no_curve_goes_through_it() -> None:
    html = page(model_report(objective_report(dark_from=NOW - 4 * DAY)))
    shaded = re.findall(r'<rect class="unmeasured" x="([\d.]+)" width="([\d.]+)"', html)
    assert set(shaded) == {("600.0", "400.0")}
    curve = next(path for path in re.findall(r'style="--c:var\(--p95\)" d="([^"]*)"', html))
    assert max(float(x) for x in re.findall(r"[ML]([\d.]+),", curve)) == 600.0
    assert "60.0 %" in text_of(html)
    assert 'class="unmeasured"' not in page(model_report()), "all of it was measured here"


def test_a_budget_that_is_spent_says_when() -> None:
    html = page(model_report(objective_report(20)))
    assert "overspent by 100 %" in text_of(html)
    assert f"spent on {wording.moment(NOW - 5 * DAY)}" in text_of(html)
    assert '<line class="spent" x1="500.0"' in html


def test_a_new_target_is_drawn_as_a_step_and_told() -> None:
    versions = (
        VersionSpan("a", 0.995, 10 * DAY, NOW - 10 * DAY, NOW - 2 * DAY, Promise.KEPT, 0.995, 0.995),
        VersionSpan("b", 0.99, 10 * DAY, NOW - 2 * DAY, NOW, Promise.KEPT, 0.995, 0.995),
    )
    html = page(model_report(replace(objective_report(), versions=versions)))
    assert "target 99.5 % became 99 %" in text_of(html)
    target = next(path for path in re.findall(r'class="dash" style="--c:var\(--limit\)" d="([^"]*)"', html))
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+),", target)]
    assert xs == [0.0, 800.0, 800.0, 1000.0]


def test_everyday_scaling_is_one_line_and_scaling_around_an_alert_stands_alone() -> None:
    alert = AlertSpan(Severity.PAGE, NOW - DAY, NOW - DAY + HOUR, "5 % burned in 1 h")
    marks = tuple(scaled(NOW - 9 * DAY + n * 8 * HOUR + 60, MarkKind.UP if n % 2 else MarkKind.DOWN) for n in range(27))
    found = events(model_report(replace(objective_report(), alerts=(alert,)), marks=marks), "m0")
    assert [(e.sign, e.text) for e in found] == [
        ("⇅", "at other times scaled down 13 times, scaled up 13 times"),
        ("⚑", "Page for 1 h: 5 % burned in 1 h"),
        ("▼", "2 -> 3 instances: demand"),
    ]
    assert len(found[0].lines) == 26
    assert found[0].moments == (), "it is in the plot of scaling"
    few = events(model_report(marks=marks[:3]), "m0")
    assert [e.sign for e in few] == ["▼", "▲", "▼"]


def test_scaling_that_was_cut_off_says_from_when_on_it_is_shown() -> None:
    assert "Scaling is shown from" not in page(model_report())
    cut = page(model_report(marks_from=NOW - 3 * DAY))
    assert f"Scaling is shown from {wording.moment(NOW - 3 * DAY)} on" in cut
    cut = page(model_report(replace(objective_report(), alerts_from=NOW - 2 * DAY)))
    assert f"Alerts of {KEY} are shown from {wording.moment(NOW - 2 * DAY)} on" in cut


def test_alerts_that_go_on_say_so() -> None:
    alert = AlertSpan(Severity.TICKET, NOW - DAY, None, "10 % burned in 1 d")
    (found,) = events(model_report(replace(objective_report(), alerts=(alert,))), "m0")
    assert found.text == "Ticket firing for 24 h: 10 % burned in 1 d"


def test_corrections_are_told_and_what_was_withdrawn_is_marked() -> None:
    out = Adjustment("a", NOW, "ann", "rack", AdjustmentKind.EXCLUDE, "", "", NOW - 2 * DAY, NOW - DAY)
    events_ = Adjustment("b", NOW, "ben", "test", AdjustmentKind.EVENTS, "bert", KEY, NOW - 2 * DAY, NOW - DAY, -1200)
    back = Adjustment("c", NOW, "eve", "wrong", AdjustmentKind.WITHDRAW, "bert", withdraws="b")
    found = events(model_report(adjustments=(out, events_, back)), "m0")
    assert "all models: " in found[0].text
    assert "left out, by ann: rack" in found[0].text
    assert "-1,200 bad events, by ben: test (withdrawn by eve on" in found[1].text
    html = page(model_report(adjustments=(out, events_, back)))
    assert set(re.findall(r'<rect class="excluded" x="([\d.]+)" width="([\d.]+)"', html)) == {("800.0", "100.0")}


def test_signs_that_would_overlap_share_one_and_those_of_other_objectives_are_left_out() -> None:
    alert = AlertSpan(Severity.PAGE, NOW - DAY, NOW, "burning")
    report = model_report(
        replace(objective_report(), alerts=(alert,)), marks=tuple(scaled(NOW - DAY + n) for n in range(3))
    )
    frame = Frame(NOW - 10 * DAY, NOW, 1.0)
    (pin,) = event_pins(events(report, "m0"), KEY, frame)
    assert pin.sign == "⚑"
    assert pin.text.endswith("; and 1 more")
    (other,) = event_pins(events(report, "m0"), "availability_server", frame)
    assert other.sign == "▲"


@pytest.mark.parametrize(
    ("share", "target", "text"),
    [
        (0.9987, 0.99, "99.87 %"),
        (0.99954321, 0.999, "99.954 %"),
        (0.98996, 0.99, "98.996 %"),
        (0.9899999, 0.99, "98.99999 %"),
        (0.99, 0.99, "99.00 %"),
        (1.0, 0.9, "100.0 %"),
    ],
)
def test_attainment_is_never_rounded_over_its_target(share: float, target: float, text: str) -> None:
    stands = replace(objective_report().standing, attainment_low=share, attainment_high=share, target=target)
    assert wording.attained(stands).replace("\N{NO-BREAK SPACE}", " ") == f'<data value="{share!r}">{text}</data>'


def test_only_all_of_it_is_all_of_it() -> None:
    assert wording.coverage(0.99999).endswith(">99.9\N{NO-BREAK SPACE}%</data>")
    assert wording.coverage(1.0).endswith(">100.0\N{NO-BREAK SPACE}%</data>")


def test_objectives_are_told_as_phrases() -> None:
    stands: Standing = objective_report().standing
    assert told(stands) == "99 % of requests within 100 ms"
    mean = replace(stands, source=IndicatorSource.MEAN_SLICES)
    assert told(mean) == "99 % of 10 s slices with a mean within 100 ms"
    floor = replace(stands, indicator=Indicator.THROUGHPUT, threshold_s=None, floor_per_s=50.0, model_version="3")
    assert told(floor) == "99 % of 10 s slices with demand at 50 requests/s or more, version 3"
    for indicator in Indicator:
        for source in IndicatorSource:
            assert told(replace(stands, indicator=indicator, source=source, ratio="paid"))
    assert wording.window(stands) == "over 10 d"
    assert wording.window(replace(stands, period=Period.MONTH)).startswith("this month, since ")
