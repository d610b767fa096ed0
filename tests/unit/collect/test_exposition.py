from __future__ import annotations

import math
import re
import time
from contextlib import suppress

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families

from controlplane.collect import families
from controlplane.collect.exposition import Labels, PageReader, parse
from controlplane.collect.triton.signals import TRITON
from controlplane.domain.errors import MalformedPageError
from tests.unit.collect.pages import PAGES, recorded

Samples = list[tuple[str, Labels, float]]
METRICS_PAGES = [path.name for path in sorted(PAGES.glob("*.txt"))]


def reference(text: str) -> Samples:
    """What prometheus_client reads; it calls counters x_total also where the page does not."""
    names = {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()}
    return [
        (
            sample.name if sample.name in names else sample.name.removesuffix("_total"),
            sample.labels,
            float(sample.value),
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def openmetrics_reference(text: str) -> Samples:
    """The same for OpenMetrics, where names are as on the page."""
    found = openmetrics_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return [(sample.name, sample.labels, float(sample.value)) for family in found for sample in family.samples]


def comparable(samples: Samples) -> list[str]:
    return sorted(repr((name, sorted(labels.items()), value)) for name, labels, value in samples)


def test_there_are_recorded_pages_of_both_servers() -> None:
    assert {name.split("-")[0] for name in METRICS_PAGES} >= {"triton", "vllm"}


@pytest.mark.parametrize("name", METRICS_PAGES)
def test_every_sample_of_a_recorded_page_reads_as_prometheus_client_reads_it(name: str) -> None:
    text = recorded(name)
    expected = reference(text)
    page = parse(text, frozenset(series for series, _, _ in expected))
    found = [(series, labels, value) for series, samples in page.items() for labels, value in samples]
    assert len(expected) > 10
    assert comparable(found) == comparable(expected)


def test_only_what_is_wanted_is_read() -> None:
    page = parse(recorded("triton-2.51.0-cpu-summaries.txt"), TRITON.wanted)
    assert page.keys() <= TRITON.wanted
    assert page[families.TRITON_SUCCESS] == [({"model": "echo", "version": "1"}, 800.0)]


def test_a_wanted_name_is_not_mistaken_for_a_longer_one() -> None:
    assert parse("a_total 1\na 2\na_totals 3\n", frozenset({"a"})) == {"a": [({}, 2.0)]}


@pytest.mark.parametrize("spelling", ["Nan", "NaN", "nan"])
def test_no_number_is_understood_in_every_spelling(spelling: str) -> None:
    ((_, value),) = parse(f'a{{quantile="0.5"}} {spelling}\n', frozenset({"a"}))["a"]
    assert math.isnan(value)


def test_labels_may_hold_braces_blanks_quotes_and_newlines() -> None:
    page = parse('a{x="}  {",y="say \\"a\\" \\\\ b\\nc",} 1 1700000000000\n', frozenset({"a"}))
    assert page["a"] == [({"x": "}  {", "y": 'say "a" \\ b\nc'}, 1.0)]


def test_an_exemplar_is_passed_over() -> None:
    page = parse('a_bucket{le="1"} 3 # {trace="x"} 0.7 1700000000.5\n', frozenset({"a_bucket"}))
    assert page["a_bucket"] == [({"le": "1"}, 3.0)]


def test_an_exemplar_is_passed_over_also_without_labels_and_whatever_it_says() -> None:
    text = 'a_total 3 # {trace="} # {"} 0.7\na_total{x=" # {y} "} 4 1700000000.5 # {t="}"} 1\na_total{x=" # {"} 5\n'
    assert parse(text, frozenset({"a_total"}))["a_total"] == [({}, 3.0), ({"x": " # {y} "}, 4.0), ({"x": " # {"}, 5.0)]


def test_a_page_read_again_with_other_values_and_labels_gives_the_new_ones() -> None:
    reader = PageReader(frozenset({"a"}))
    for round_ in range(5):
        lines = [f'a{{x="{round_}",y="{n}"}} {round_ * n}\n' for n in range(9)]
        expected = [({"x": str(round_), "y": str(n)}, float(round_ * n)) for n in range(9)]
        assert reader.parse("".join(lines))["a"] == expected


def test_blanks_around_names_and_lines_are_no_part_of_them() -> None:
    assert parse(' \t b 2\n\t a {x="1"}\t3 \n a 4\n', frozenset({"a"})) == {"a": [({"x": "1"}, 3.0), ({}, 4.0)]}


def test_a_recorded_page_as_openmetrics_reads_as_prometheus_client_reads_it() -> None:
    # an OpenMetrics counter's family has no _total, and `_created` is none
    text = re.sub(r"^# HELP .*\n", "", recorded("vllm-0.32.0-under-load.txt"), flags=re.MULTILINE)
    text = re.sub(r"^(# TYPE \S+)_total counter$", r"\1 counter", text, flags=re.MULTILINE)
    text = re.sub(r"^# TYPE \S+_created .*\n|^\S+_created[{ ].*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r'(_bucket{.*le="1.0".*} \S+)$', r'\1 # {trace_id="a b"} 0.5 1700000000.25', text, flags=re.MULTILINE)
    text += "# EOF\n"
    expected = openmetrics_reference(text)
    page = parse(text, frozenset(series for series, _, _ in expected))
    assert text.count("trace_id") > 3
    assert len(expected) > 500
    assert comparable([(series, *sample) for series, found in page.items() for sample in found]) == comparable(expected)


def test_the_end_of_openmetrics_needs_no_newline() -> None:
    assert parse("a 1\n# EOF", frozenset({"a"})) == {"a": [({}, 1.0)]}


def test_a_page_of_nothing_but_openings_is_told_quickly() -> None:
    for text in ('a{x="' * 50_000, "a 1" + " # {" * 50_000, "\n" * 100_000, 'a{x="\\' * 50_000, "a{" + " " * 100_000):
        begun = time.perf_counter()
        with suppress(MalformedPageError):
            parse(f"{text}\n", frozenset({"a"}))
        assert time.perf_counter() - begun < 1.0


def test_a_page_without_the_wanted_series_is_empty_and_so_is_an_empty_page() -> None:
    assert parse("# HELP b c\n# TYPE b counter\nb 1\n", frozenset({"a"})) == {}
    assert parse("", frozenset({"a"})) == {}


def test_a_page_cut_within_a_line_is_malformed_even_where_the_rest_would_be_a_sample() -> None:
    with pytest.raises(MalformedPageError, match="cut short"):
        parse("a 1\na 123", frozenset({"a"}))


@pytest.mark.parametrize("text", ["<html><form>Log in</form></html>", "\n <!DOCTYPE html>\n<p>Log in"])
def test_a_login_page_is_html_and_not_cut_short(text: str) -> None:
    with pytest.raises(MalformedPageError, match="it is HTML"):
        parse(text, frozenset({"a"}))


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html>\n<html></html>\n",
        "<html>hello\n",
        '{"error": "not found"}\n',
        "404 page not found\n",
        "some words in a line\n",
        "\x00\x01\x02\n",
    ],
)
def test_html_and_garbage_are_malformed_even_where_nothing_in_them_is_wanted(text: str) -> None:
    with pytest.raises(MalformedPageError):
        parse(text, frozenset({"a"}))


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a{",
        'a{x="1"',
        'a{x="1"}',
        'a{x="1} 2',
        "a{x=1} 2",
        "a two",
        "a 1 2 3",
        'a{x="1",x="2"} 1',
        "a 1 x",
        "a 1_0",
    ],
)
def test_a_wanted_line_that_is_no_sample_is_malformed_and_named(line: str) -> None:
    with pytest.raises(MalformedPageError, match="line 2"):
        parse(f"b 1\n{line}\n", frozenset({"a"}))
