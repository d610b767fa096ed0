"""Exports of benchmarks become profiles; what they lack or contradict is told in words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from controlplane.domain.errors import ProfileError
from controlplane.domain.profiles import BatchProfile, Profile, TokenProfile
from controlplane.profiling.imports import Untold, import_profile
from controlplane.profiling.tables import read_tables

PAGES = Path(__file__).parents[2] / "pages"
PERF_ANALYZER, MODEL_ANALYZER = "perf-analyzer-documented.csv", "model-analyzer-documented.csv"
GENAI_PERF = ("genai-perf-documented-1.csv", "genai-perf-documented-64.csv")
AIPERF = ("aiperf-documented-1.csv", "aiperf-documented-16.csv")


def text(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def imported(*names: str, untold: Untold | None = None) -> Profile:
    return import_profile({name: text(name) for name in names}, untold or Untold(), 1000.0)


def refused(texts: dict[str, str], untold: Untold | None = None) -> str:
    with pytest.raises(ProfileError) as caught:
        import_profile(texts, untold or Untold(), 0.0)
    return str(caught.value)


def test_perf_analyzer_tells_batches_by_throughput_and_compute_time() -> None:
    profile = imported(PERF_ANALYZER, untold=Untold(max_batch=8))
    assert isinstance(profile, BatchProfile)
    assert [profile.fixed_s, profile.per_item_s] == pytest.approx([0.002, 0.001], rel=0.01)
    assert (profile.max_batch, profile.instances, profile.points, profile.measured_at) == (8, 1, 6, 1000.0)
    assert profile.source == "perf_analyzer: perf-analyzer-documented.csv"


def test_a_cache_and_more_columns_of_perf_analyzer_change_nothing() -> None:
    heading, *rows = text(PERF_ANALYZER).splitlines()
    heading = heading.replace("Client Recv", "Server Cache Hit,Server Cache Miss,Client Recv") + ",Avg latency"
    more = [",".join([*row.split(",")[:8], "0", "0", *row.split(",")[8:], "1"]) for row in rows]
    assert import_profile({PERF_ANALYZER: "\n".join([heading, *more])}, Untold(max_batch=8), 1000.0) == imported(
        PERF_ANALYZER, untold=Untold(max_batch=8)
    )


def test_perf_analyzer_needs_the_largest_batch_and_concurrency() -> None:
    assert "--max-batch" in refused({"p.csv": text(PERF_ANALYZER)})
    by_rate = text(PERF_ANALYZER).replace("Concurrency", "Request Rate")
    assert "p.csv, row 1: no column 'Concurrency'" in refused({"p.csv": by_rate}, Untold(max_batch=8))
    broken = text(PERF_ANALYZER).replace("666.7", "many")
    assert "p.csv, row 4: 'inferences/second' is 'many'" in refused({"p.csv": broken}, Untold(max_batch=8))


def test_requests_of_several_items_are_batches_of_them() -> None:
    export = "Concurrency,Inferences/Second,Client Send\n1,800,5\n16,1000,5\n"
    profile = import_profile({"p.csv": export}, Untold(items=4, max_batch=16), 0.0)
    assert isinstance(profile, BatchProfile)
    # 4 items in 5 ms, 16 in 16 ms
    assert [profile.service_s(4), profile.service_s(16)] == pytest.approx([0.005, 0.016])


def test_model_analyzer_tells_batches_by_throughput_alone() -> None:
    profile = imported(MODEL_ANALYZER, untold=Untold(variant="classifier_config_default"))
    assert isinstance(profile, BatchProfile)
    assert [profile.fixed_s, profile.per_item_s] == pytest.approx([0.002, 0.001], rel=0.01)
    other = imported(MODEL_ANALYZER, untold=Untold(variant="classifier_config_0", model="classifier"))
    assert isinstance(other, BatchProfile)
    assert (other.instances, other.max_batch, other.points) == (2, 4, 2)


def test_model_analyzer_may_export_compute_times() -> None:
    export = (
        "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Throughput (infer/sec),"
        "Server Compute Input time (ms),Server Compute Infer time (ms),Server Compute Output time (ms)\n"
        "m,1,1,m_config_0,1:GPU,8,250,0.5,2.4,0.1\nm,1,8,m_config_0,1:GPU,8,666.667,0.5,5.3,0.2\n"
    )
    profile = import_profile({"m.csv": export}, Untold(), 0.0)
    assert isinstance(profile, BatchProfile)
    assert [profile.fixed_s, profile.per_item_s] == pytest.approx([0.002, 0.001], rel=0.01)


def test_one_of_several_variants_has_to_be_named() -> None:
    texts = {"m.csv": text(MODEL_ANALYZER)}
    variants = "name one with --variant: classifier_config_default, classifier_config_0"
    assert refused(texts) == f"m.csv: it tells of several; {variants}"
    assert refused(texts, Untold(variant="x")) == f"m.csv: 'x' is not in it; {variants}"
    assert refused(texts, Untold(model="x")) == "m.csv: 'x' is not in it; name one with --model: classifier"


def test_exports_of_genai_perf_at_two_loads_make_a_profile() -> None:
    profile = imported(*GENAI_PERF)
    assert isinstance(profile, TokenProfile)
    # waiting requests are not taken for running ones
    assert [profile.itl_base_s, profile.itl_per_running_s] == pytest.approx([0.008, 0.0002], rel=0.01)
    assert profile.prefill_s(550) == pytest.approx(0.075)
    assert (profile.prompt_tokens, profile.output_tokens, profile.points) == (550, 100, 2)
    assert (profile.kv_tokens, profile.max_num_seqs) == (None, None)


def test_exports_of_aiperf_are_read_alike() -> None:
    profile = imported(*AIPERF)
    assert isinstance(profile, TokenProfile)
    assert [profile.itl_base_s, profile.itl_per_running_s] == pytest.approx([0.008, 0.0002], rel=0.01)
    older = text(GENAI_PERF[0]).replace(" Length (tokens)", " Length").replace("Request Count (count),67.00\n", "")
    again = import_profile({"1": older, "16": text(AIPERF[1])}, Untold(), 0.0)
    assert isinstance(again, TokenProfile)
    assert again.itl_s(16) == pytest.approx(profile.itl_s(16))


def test_what_makes_no_profile_is_told_in_words() -> None:
    assert "at least two loads are needed" in refused({"a.csv": text(AIPERF[0])})
    assert "a.csv: is not a CSV export of perf_analyzer" in refused({"a.csv": "<html>\n</html>\n"})
    assert "has no rows" in refused({"a.csv": ""})
    assert "a.csv: no row 'inter token latency (ms)': measure with --streaming" in refused(
        {"a.csv": text(AIPERF[0]).replace("Inter Token", "Other")}
    )
    assert "exports of several tools make no profile together" in refused(
        {"a.csv": text(AIPERF[0]), "b.csv": text(PERF_ANALYZER)}
    )
    assert "a.csv: no row 'request throughput (requests/sec)'" in refused(
        {"a.csv": text(AIPERF[0]).replace("Request Throughput", "Other")}
    )

    assert "are of other tools" in refused({"a.csv": text(AIPERF[0]), "b.csv": text(AIPERF[1])}, Untold(max_batch=8))


@pytest.mark.parametrize("cell", ["", "0", "-1", "nan", "inf", "1e300", "many"])
@pytest.mark.parametrize(
    ("names", "untold"),
    [
        ((PERF_ANALYZER,), Untold(max_batch=8)),
        ((MODEL_ANALYZER,), Untold(variant="classifier_config_default")),
        (GENAI_PERF, Untold()),
        (AIPERF, Untold()),
    ],
)
def test_whatever_stands_in_a_cell_gives_a_profile_or_is_told_in_words(
    names: tuple[str, ...], untold: Untold, cell: str
) -> None:
    for row, line in enumerate(lines := text(names[0]).splitlines()):
        for column in range(1, line.count(",") + 1):
            cells = line.split(",")
            cells[column] = cell
            changed = "\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]])
            with suppress(ProfileError):
                import_profile({name: changed if name == names[0] else text(name) for name in names}, untold, 0.0)


def test_tables_end_at_blank_lines_whatever_ends_their_lines() -> None:
    assert read_tables('A,b\r\n1,"2,000"\r\n\r\n\r\nC\r\n3\r\n') == [[{"a": "1", "b": "2,000"}], [{"c": "3"}]]
