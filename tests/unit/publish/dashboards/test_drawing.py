from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from controlplane.publish.dashboards import dashboards
from controlplane.publish.dashboards.builder import Row, dashboard
from controlplane.publish.dashboards.panels import (
    Column,
    Query,
    bargauge,
    heatmap,
    rising,
    stat,
    state_timeline,
    table,
    text,
    timeseries,
)
from tests.dashboard_drawing import Drawing, Series, draw
from tests.dashboard_drawing.data import spans
from tests.dashboard_drawing.figures import by_steps, color, written
from tests.unit.publish.dashboards.synthetic import END, START, STEP, answer

BY_UID = {made["uid"]: made for made in dashboards()}
Answer = Callable[[str, float, float, float], Sequence[Series]]


def said(drawing: Drawing) -> list[str]:
    return [text.get_text() for text in drawing.figure.texts]


def heights(axes: Axes) -> list[list[float]]:
    """Of every line."""
    return [np.asarray(line.get_ydata(), float).tolist() for line in axes.get_lines()]


def one(panel: dict[str, Any], answered: Answer) -> Drawing:
    made = dashboard("cp-one", "One", "One panel.", [], [Row("All", [panel])], [])
    return draw(made, answered, 0.0, 600.0, 60.0)


def steady(**values: float) -> Answer:
    """A series for each model, the same all the time."""

    def answered(_: str, start: float, end: float, step: float) -> list[Series]:
        times = [start + step * at for at in range(int((end - start) / step) + 1)]
        return [Series({"model": model}, [(at, value) for at in times]) for model, value in values.items()]

    return answered


def test_a_dashboard_is_drawn_whole(tmp_path: Path) -> None:
    drawing = draw(BY_UID["cp-fleet"], answer, START, END, STEP)
    drawing.save(tmp_path / "fleet.png")
    height, width, _ = imread(tmp_path / "fleet.png").shape
    assert (width, height) == (1680, int(drawing.figure.get_figheight() * 100))
    assert drawing.empty == []
    titles = {panel["title"] for panel in BY_UID["cp-fleet"]["panels"] if panel["type"] != "row"}
    assert titles <= set(said(drawing))
    assert {"bert_classifier", "Budget left", "▾  Load"} <= set(said(drawing))


def test_what_nobody_scrapes_is_said_on_its_panels() -> None:
    drawing = draw(BY_UID["cp-triton"], answer, START, END, STEP)
    assert drawing.empty == [
        "p99 of requests, by server",
        "p99 of waiting, by server",
        "Response cache in use",
        "Cache evictions",
    ]
    assert said(drawing).count("not scraped, or no summaries") == 2


@pytest.mark.parametrize("uid", BY_UID)
def test_without_any_data_every_panel_says_so(uid: str) -> None:
    drawing = draw(BY_UID[uid], lambda *_: [], START, END, STEP)
    asked = [panel for panel in BY_UID[uid]["panels"] if panel["type"] not in ("row", "text")]
    assert drawing.empty == [panel["title"] for panel in asked]
    assert {panel["fieldConfig"]["defaults"]["noValue"] for panel in asked} <= set(said(drawing))


def test_lines_have_units_names_and_gaps() -> None:
    points = [(0.0, 0.1), (60.0, 0.2), (300.0, 0.3), (360.0, 0.2)]
    panel = timeseries("Share", "Of it.", [Query("x", "{{model}}, share")], "percentunit", steps=rising(0.15, 9))
    drawing = one(panel, lambda *_: [Series({"model": "bert"}, points)])
    (axes,) = drawing.figure.axes
    assert "bert, share" in said(drawing)
    drawn = [values for values in heights(axes) if len(values) == 11]
    values = drawn[0]
    assert values[:2] == [0.1, 0.2]
    assert values[2] != values[2], "a gap"
    assert values[5] == 0.3
    assert axes.yaxis.get_major_formatter()(0.2, 0) == "20%"
    limits = [values for values in heights(axes) if values == [0.15, 0.15]]
    assert len(limits) == 1, "the threshold inside the axes, not the one beyond them"


def test_stacked_series_lie_on_each_other() -> None:
    panel = timeseries("Events", "Of it.", [Query("x", "{{model}}")], "eps", stacked=True)
    (axes,) = one(panel, steady(a=2.0, b=3.0)).figure.axes
    assert [values[0] for values in heights(axes)] == [2.0, 5.0]


def test_a_figure_of_now_has_the_colour_of_its_threshold() -> None:
    drawing = one(stat("Burn", "Of it.", Query("x", "burn"), "none", steps=rising(1, 6), decimals=2), steady(a=7.0))
    (figure,) = [text for text in drawing.figure.texts if text.get_text() == "7.00"]
    assert figure.get_color() == color("red")


def test_a_table_joins_its_queries_by_labels() -> None:
    def answered(expr: str, *_: float) -> list[Series]:
        found = {"one": {"a": 1.0, "b": 2.0}, "two": {"b": 0.5}}[expr]
        return [Series({"model": model}, [(0.0, value)]) for model, value in found.items()]

    columns = [Column("one", "Count", "none"), Column("two", "Share", "percentunit", rising(0.1, 0.4))]
    drawing = one(table("All", "Of it.", columns, ["model"]), answered)
    assert {"model", "Count", "Share", "a", "b", "1", "2"} <= set(said(drawing))
    (share,) = [text for text in drawing.figure.texts if text.get_text() == "50%"]
    assert share.get_color() == color("red")


def test_states_bars_heat_and_words_are_drawn() -> None:
    states = state_timeline("State", "Of it.", [Query("x", "{{model}}")], {1: ("up", "green"), 0: ("down", "red")})
    (axes,) = one(states, steady(a=1.0, b=0.0)).figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.texts] == ["up", "down"]
    assert {"a", "4 h"} <= set(
        said(one(bargauge("Bars", "Of it.", [Query("x", "{{model}}")], "suffix:h"), steady(a=4.0)))
    )

    def buckets(_: str, start: float, end: float, step: float) -> list[Series]:
        return [Series({"le": edge}, [(0.0, count)]) for edge, count in (("0.1", 1.0), ("+Inf", 4.0))]

    (heat,) = one(heatmap("Heat", "Of it.", Query("x", "{{le}}"), "s"), buckets).figure.axes
    assert [label.get_text() for label in heat.get_yticklabels()] == ["100 ms", "∞"]
    assert "Read me." in said(one(text("Words", "Of it.", "Read *me*."), steady()))


def test_marks_are_drawn_where_something_happened() -> None:
    series = Series({}, [(0.0, 0.0), (60.0, 1.0), (120.0, 1.0), (300.0, 1.0), (360.0, 0.0)])
    assert list(spans(series, 60.0)) == [(60.0, 120.0), (300.0, 300.0)]


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "expected"),
    [
        (0.9973, "percentunit", 1, "99.7%"),
        (12.5, "reqps", None, "12.5 req/s"),
        (0.0042, "s", None, "4.2 ms"),
        (5400.0, "s", None, "1.5 h"),
        (0.0, "s", None, "0 s"),
        (3 * 2**30, "bytes", None, "3.0 GiB"),
        (1.98e9, "hertz", 2, "1.98 GHz"),
        (71.0, "celsius", None, "71 °C"),
        (1_234_567.0, "short", None, "1.2 Mil"),
        (1_234_567.0, "none", None, "1,234,567"),
        (3.0, "suffix:GPU", None, "3 GPU"),
    ],
)
def test_figures_are_written_with_their_unit(value: float, unit: str, decimals: int | None, expected: str) -> None:
    assert written(value, unit, decimals) == expected


def test_a_threshold_holds_from_its_value_on() -> None:
    thresholds = {
        "steps": [{"value": None, "color": "green"}, {"value": 1, "color": "yellow"}, {"value": 6, "color": "red"}]
    }
    assert [by_steps(value, thresholds) for value in (-1, 1, 5.9, 6)] == [
        color("green"),
        color("yellow"),
        color("yellow"),
        color("red"),
    ]
