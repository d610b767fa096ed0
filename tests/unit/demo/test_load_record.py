import pytest
from prometheus_client import generate_latest

from controlplane.demo.load_record import GatewayPage, LatencySketch, ModelRecord, quantiles


def test_sketched_quantiles_are_within_one_percent() -> None:
    sketch = LatencySketch()
    for i in range(1, 10_001):
        sketch.add(i / 1000)

    assert sketch.quantile(0.5) == pytest.approx(5.0, rel=0.011)
    assert sketch.quantile(0.99) == pytest.approx(9.9, rel=0.011)
    assert LatencySketch().quantile(0.5) is None


def test_a_second_holds_only_what_happened_in_it() -> None:
    record = ModelRecord()
    record.sent += 3
    record.succeeded(0.1)
    record.went_wrong("unavailable", "gone")
    first = record.close_second(1.0, 5.0)
    record.succeeded(0.3)
    second = record.close_second(2.0, 5.0)

    assert (first["sent"], first["ok"], first["failed"], first["in_flight"]) == (3, 1, 1, 1)
    assert (second["sent"], second["ok"], second["failed"], second["in_flight"]) == (0, 1, 0, 0)
    assert (first["p99_s"], second["p50_s"]) == (0.1, 0.3)


def test_a_second_without_answers_has_no_quantiles() -> None:
    assert quantiles([]) == {"p50_s": None, "p95_s": None, "p99_s": None}


def test_failures_keep_few_samples_of_few_classes_and_every_count() -> None:
    record = ModelRecord()
    for kind in range(50):
        for message in range(10):
            record.went_wrong(f"class {kind}", f"message {message}")

    assert record.failed == sum(record.errors.values()) == 500
    assert len(record.samples) <= 21
    assert record.samples["class 0"] == ["message 0", "message 1", "message 2"]


def test_the_page_shows_durations_and_counts_by_model_and_code() -> None:
    page = GatewayPage()
    page.expect("quiet")
    page.answered("m", "200", 0.12)
    page.answered("m", "503", 2.5)
    page.found_unloaded("m")
    text = generate_latest(page.registry).decode()

    assert 'gateway_request_duration_seconds_bucket{code="200",le="0.1",model="m"} 0.0' in text
    assert 'gateway_request_duration_seconds_bucket{code="200",le="0.15",model="m"} 1.0' in text
    assert 'gateway_request_duration_seconds_sum{code="503",model="m"} 2.5' in text
    assert 'gateway_requests_total{code="503",model="m"} 1.0' in text
    assert 'gateway_requests_while_unloaded_total{model="m"} 1.0' in text
    assert 'gateway_requests_total{code="200",model="quiet"} 0.0' in text
