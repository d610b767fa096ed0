from __future__ import annotations

import pytest

from controlplane.collect.exposition import Page, parse
from controlplane.collect.histograms import Buckets, Counted, Group, HistogramLedger, histograms
from controlplane.domain.errors import MalformedPageError
from tests.unit.collect.pages import histogram_page

OK: Group = frozenset({("code", "200")})
BAD: Group = frozenset({("code", "500")})


def one(*cumulative: float) -> dict[Group, Buckets]:
    return {OK: Buckets((0.1, 0.5), cumulative)}


def page(text: str) -> Page:
    return parse(text, frozenset({"h_bucket"}))


def test_buckets_are_gathered_by_their_other_labels() -> None:
    text = histogram_page("h", {"0.1": 1, "+Inf": 3}, code="200") + histogram_page("h", {"+Inf": 2, "1": 1}, code="500")
    assert histograms(page(text)["h_bucket"]) == {
        OK: Buckets((0.1,), (1, 3)),
        BAD: Buckets((1.0,), (1, 2)),
    }


@pytest.mark.parametrize("counts", [{"0.1": 1}, {"x": 1, "+Inf": 1}])
def test_a_histogram_without_its_last_bucket_or_with_a_bad_edge_is_malformed(counts: dict[str, int]) -> None:
    with pytest.raises(MalformedPageError):
        histograms(page(histogram_page("h", counts, code="200"))["h_bucket"])


def test_a_bucket_that_is_no_number_is_malformed() -> None:
    with pytest.raises(MalformedPageError):
        histograms(page('h_bucket{le="1"} Nan\nh_bucket{le="+Inf"} 3\n')["h_bucket"])


def test_buckets_written_at_different_moments_do_not_contradict_each_other() -> None:
    text = histogram_page("h", {"0.1": 3, "0.5": 2, "+Inf": 2}, code="200")
    assert histograms(page(text)["h_bucket"])[OK].cumulative == (2, 2, 2)


def test_counts_are_differences_per_bucket() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    assert ledger.seen(5, {"m": one(1, 2, 3)}) == {}
    assert ledger.seen(10, {"m": one(2, 5, 7)}) == {"m": Counted(5, 10, (0.1, 0.5), (1, 2, 1), 0)}


def test_a_series_that_appears_counts_from_zero_and_errors_are_apart() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": one(1, 1, 1)})
    both = one(1, 2, 2) | {BAD: Buckets((0.1, 0.5), (4, 4, 6))}
    assert ledger.seen(10, {"m": both, "n": one(1, 1, 1)}, frozenset({BAD})) == {
        "m": Counted(5, 10, (0.1, 0.5), (0, 1, 0), 6),
        "n": Counted(5, 10, (0.1, 0.5), (1, 0, 0), 0),
    }


def test_a_reset_of_one_histogram_tells_that_all_of_the_page_began_anew() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": one(9, 9, 9), "n": one(1, 1, 1)})
    ledger.missed(20)
    assert ledger.seen(25, {"m": one(2, 2, 2), "n": one(5, 5, 5)}) == {
        "m": Counted(20, 25, (0.1, 0.5), (2, 0, 0), 0),
        "n": Counted(20, 25, (0.1, 0.5), (5, 0, 0), 0),
    }


def test_a_gap_without_a_reset_is_one_interval() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": one(1, 1, 1)})
    ledger.missed(10)
    assert ledger.seen(15, {"m": one(1, 1, 4)})["m"] == Counted(5, 15, (0.1, 0.5), (0, 0, 3), 0)


def test_a_model_known_before_counts_zero_after_its_exporter_began_anew() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": one(1, 1, 1)})
    assert ledger.seen(10, {}) == {"m": Counted(5, 10, (), (0,), 0)}


def test_a_series_that_is_taken_away_while_others_go_on_does_not_count_them_again() -> None:
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": one(9, 9, 9), "n": one(1000, 1000, 1000)})
    assert ledger.seen(10, {"n": one(1001, 1002, 1003)}) == {
        "m": Counted(5, 10, (), (0,), 0),
        "n": Counted(5, 10, (0.1, 0.5), (1, 1, 1), 0),
    }


def test_histograms_with_different_edges_add_up_at_the_common_ones() -> None:
    other = {BAD: Buckets((0.1, 0.3), (1, 2, 3))}
    ledger: HistogramLedger[str] = HistogramLedger()
    ledger.seen(5, {"m": {}})
    assert ledger.seen(10, {"m": one(1, 2, 3) | other})["m"] == Counted(5, 10, (0.1,), (2, 4), 0)


def test_a_series_that_returns_is_counted_on_from_where_it_left() -> None:
    ledger: HistogramLedger[str] = HistogramLedger(may_return=True)
    ledger.seen(5, {"m": one(1000, 1000, 1000), "n": one(1, 1, 1)})
    ledger.seen(10, {"n": one(1, 1, 2)})
    ledger.seen(15, {})
    assert ledger.seen(20, {"m": one(1001, 1001, 1003), "n": one(1, 2, 3)}) == {
        "m": Counted(15, 20, (0.1, 0.5), (1, 0, 2), 0),
        "n": Counted(15, 20, (0.1, 0.5), (0, 1, 0), 0),
    }


def test_a_series_that_returns_lower_is_one_of_another_process() -> None:
    ledger: HistogramLedger[str] = HistogramLedger(may_return=True)
    ledger.seen(5, {"m": one(1000, 1000, 1000)})
    ledger.seen(10, {})
    assert ledger.seen(15, {"m": one(3, 3, 4)})["m"] == Counted(10, 15, (0.1, 0.5), (3, 0, 1), 0)
