"""What `model list` says of start-up times."""

from __future__ import annotations

from controlplane.cli.startup_tables import startups_table

FEW = {"workload": "", "knob": "load", "seen": 3, "assumed": 7, "p50_s": 120.0, "p90_s": 120.0}
MANY = {"workload": "llama", "knob": "set_instances", "seen": 12, "assumed": 0, "p50_s": 1.5, "p90_s": 4.0}


def test_there_is_no_table_where_no_start_up_was_seen() -> None:
    assert startups_table([{"name": "bert", "startups": []}]) is None


def test_a_time_that_rests_on_what_is_assumed_says_so() -> None:
    table = startups_table([{"name": "bert", "startups": [FEW, MANY]}])
    assert table is not None
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    assert list(rows) == [
        ("bert", "[dim]-[/]", "load", "2 min", "2 min", "3 [dim](and 7 assumed)[/]"),
        ("bert", "llama", "set instances", "1.5 s", "4 s", "12"),
    ]
