from __future__ import annotations

import re

import pytest

from controlplane.page.document import Key, Pin, document, facts, panel, pins, times
from controlplane.page.plot import Frame, area, between, ground, level, line, runs, stairs, uprights

FRAME = Frame(100.0, 200.0, 1.0, 0.5)


def test_a_frame_places_time_from_left_to_right_and_values_from_bottom_to_top() -> None:
    assert [FRAME.x(at) for at in (100.0, 125.0, 200.0)] == ["0.0", "250.0", "1000.0"]
    assert [FRAME.y(value) for value in (1.0, 0.75, 0.5)] == ["0.0", "50.0", "100.0"]
    assert [FRAME.x(0.0), FRAME.y(0.0), FRAME.y(9.0)] == ["0.0", "100.0", "0.0"], "what lies outside is clipped"
    assert Frame(5.0, 5.0, 1.0).share(5.0) == 0.0


def test_a_curve_has_a_gap_where_nothing_is_known() -> None:
    series = [(100.0, 1.0), (110.0, 0.9), (120.0, None), (130.0, 0.8), (140.0, 0.8), (150.0, None), (160.0, 0.7)]
    assert [len(run) for run in runs(series)] == [2, 2], "a single value is no stretch"
    drawn = line(FRAME, series, "load")
    assert drawn.count("M") == 2
    assert area(FRAME, series, "load").count("Z") == 2
    assert line(FRAME, [(100.0, None)], "load") == ""
    assert not re.search("nan|none", drawn, re.IGNORECASE)


def test_an_area_stands_on_the_bottom_or_on_a_value() -> None:
    series = [(100.0, 1.0), (200.0, 1.0)]
    assert 'd="M0.0,100 L0.0,0.0 L1000.0,0.0 L1000.0,100 Z"' in area(FRAME, series, "load")
    assert 'd="M0.0,50.0 L' in area(FRAME, series, "load", ground=0.75)


def test_the_area_between_two_curves_goes_there_and_back() -> None:
    low, high = [(100.0, 0.5), (200.0, 0.5)], [(100.0, 1.0), (200.0, 0.75)]
    assert 'd="M0.0,0.0 L1000.0,50.0 L1000.0,100.0 L0.0,100.0 Z"' in between(FRAME, low, high, "load")


def test_grounds_and_lines_mark_moments() -> None:
    assert ground(FRAME, 150.0, 175.0) == '<rect x="500.0" width="250.0" y="0" height="100"/>'
    assert 'class="page"' in ground(FRAME, 0.0, 150.0, "page", 0.5)
    assert 'x="0.0" width="500.0"' in ground(FRAME, 0.0, 150.0)
    assert uprights(FRAME, [125.0], 10, 90) == '<line x1="250.0" x2="250.0" y1="10" y2="90"/>'
    assert 'y1="50.0"' in level(FRAME, 0.75)


def test_a_count_holds_until_the_next_one() -> None:
    assert stairs([(1.0, 1.0), (2.0, 1.0), (3.0, 2.0)])[-2:] == [(3.0, 1.0), (3.0, 2.0)]


@pytest.mark.parametrize("text", ["<b>", 'a"b', "a & b"])
def test_texts_from_elsewhere_cannot_break_a_page(text: str) -> None:
    made = document(text, facts({text: "1"}) + panel(text, [Key("load", text)], [], {0.0: text}) + times([(0.5, text)]))
    made += pins([Pin(0.5, "▲", text, text)])
    body = made.partition("</style>")[2] + made.partition("<title>")[2].partition("</title>")[0]
    assert text not in re.sub(r"<[^<>]*>", " ", body)
    assert f'"{text}"' not in body


def test_labels_at_the_edges_stand_inside() -> None:
    told = times([(0.0, "a"), (0.5, "b"), (1.0, "c")])
    assert ['class="first"' in part for part in told.split("<span")[1:]] == [True, False, False]
    assert told.count('class="last"') == 1
