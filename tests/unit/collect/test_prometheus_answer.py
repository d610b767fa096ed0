from __future__ import annotations

from controlplane.collect.exposition import Labels
from controlplane.collect.prometheus.answer import Wanted, as_scraped, by_target, series_query, shown
from controlplane.collect.prometheus.api import Answer

SERIES = frozenset({"vllm:a", "b_total"})


def wanted(name: str, **labels: str) -> Wanted:
    return Wanted(name, tuple(labels.items()), SERIES)


def up(at: float, value: float = 1, **labels: str) -> list[tuple[dict[str, str], float]]:
    return [
        ({"__name__": "up", "controlplane": "up", **labels}, value),
        ({"controlplane": "scraped_at", **labels}, at),
    ]


def test_the_query_names_what_all_have_in_common_and_escapes_it() -> None:
    query = series_query([wanted("s", job='a"b\\c', instance="x.1:80"), wanted("t", job='a"b\\c', instance="x.2:80")])
    common = r'instance=~"x\\.1:80|x\\.2:80",job="a\"b\\c"'
    assert query.startswith(f'{{__name__=~"b_total|vllm:a",{common}}} or label_replace(up{{{common}}}, ')
    assert f"timestamp(up{{{common}}})" in query


def test_the_query_stays_short_whatever_the_number_of_servers() -> None:
    several = [wanted(f"s{i}", job="vllm", instance=f"host-{i}:8000") for i in range(1000)]
    query = series_query(several)
    assert 'job="vllm"' in query
    assert len(query) < 300


def test_a_label_that_not_all_have_is_not_asked_for() -> None:
    query = series_query([wanted("s", job="a", pod="p"), wanted("t", job="b")])
    assert 'job=~"a|b"' in query
    assert "pod" not in query


def test_series_that_match_no_pattern_are_not_asked_for() -> None:
    only = Wanted("g", (("job", "istio"),), SERIES, (("reporter", "source"),))
    query = series_query([only])
    assert '{__name__=~"b_total|vllm:a",job="istio",reporter=~"source"}' in query
    assert 'timestamp(up{job="istio"})' in query


def test_samples_go_to_those_whose_labels_they_all_have() -> None:
    rows: list[tuple[Labels, float]] = [
        *up(7, job="a", instance="x"),
        *up(8, 0, job="a", instance="y"),
        ({"__name__": "b_total", "job": "a", "instance": "x", "model": "m"}, 3.0),
        ({"__name__": "b_total", "job": "a", "instance": "nowhere"}, 4.0),
    ]
    several = [wanted("one", job="a", instance="x"), wanted("all", job="a"), wanted("none", job="b")]
    answer = by_target(several, Answer(rows, 9.0, ("w",)))
    found = answer.scrapes
    assert (answer.at, answer.warnings) == (9.0, ("w",))
    assert found["none"] == {}
    assert found["one"].keys() == {"a x"}
    assert found["all"].keys() == {"a x", "a y"}  # what has no `up` is of no target
    (one,) = found["one"].values()
    assert (one.scraped_at, [value for _, value in one.ups]) == (7, [1])
    assert one.samples == {"b_total": [({"model": "m"}, 3.0)]}
    assert found["all"]["a y"].ups[0][1] == 0


def test_labels_are_again_those_of_the_page() -> None:
    target = {"job": "triton", "instance": "x", "model": "of the target", "zone": "z"}
    row = {
        "__name__": "n",
        "job": "triton",
        "instance": "x",
        "model": "of the target",
        "exported_model": "bert",
        "exported_other": "o",
        "zone": "z",
        "version": "1",
    }
    ((labels, value),) = as_scraped({"n": [(row, 2.0)]}, target, frozenset({"model"}))["n"]
    assert (labels, value) == ({"model": "bert", "exported_other": "o", "version": "1"}, 2.0)


def test_honoured_labels_of_the_page_stay() -> None:
    target = {"job": "vllm", "instance": "x", "model_name": "llama"}
    same = {"job": "vllm", "instance": "x", "model_name": "llama", "engine": "0"}
    other = {**same, "model_name": "other"}
    page = as_scraped({"n": [(same, 1.0), (other, 2.0)]}, target, frozenset({"model_name"}))
    assert [labels for labels, _ in page["n"]] == [
        {"model_name": "llama", "engine": "0"},
        {"model_name": "other", "engine": "0"},
    ]


def test_labels_are_shown_as_promql_writes_them() -> None:
    assert shown({"b": 'x"y', "a": "ü", "__name__": "up"}) == '{a="ü", b="x\\"y"}'
