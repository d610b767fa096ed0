"""Exports of genai-perf (profile_export_genai_perf.csv) and of AIPerf (profile_export_aiperf.csv).

Each tells of one load; what it was, neither says. Sources: triton-inference-server/perf_analyzer genai-perf/
genai_perf/export_data/csv_exporter.py; ai-dynamo/aiperf src/aiperf/exporters/metrics_csv_exporter.py and
examples/artifacts. They differ in the case and in units of their names, which is not minded here.
"""

from __future__ import annotations

from controlplane.decide.profiling import TokenPoint
from controlplane.domain.errors import ProfileError
from controlplane.profiling.tables import Row, number

METRIC = "metric"
"""The first column of every table of such an export."""
_TTFT = "time to first token (ms)"
_ITL = "inter token latency (ms)"
_LATENCY = "request latency (ms)"
_PROMPT = ("input sequence length (tokens)", "input sequence length")
_OUTPUT = ("output sequence length (tokens)", "output sequence length")
_RATE = ("request throughput (requests/sec)", "request throughput (per sec)")
_COUNT = ("request count", "request count (count)")


def read_tokens(tables: list[list[Row]], name: str) -> TokenPoint:
    """The one point of an export. Raises ProfileError.

    Requests in flight are throughput times latency, by Little's law.
    """
    values = {row[METRIC].lower(): row for table in tables for row in table if METRIC in row}
    for metric in (_TTFT, _ITL):
        if metric not in values:
            raise ProfileError(f"{name}: no row {metric!r}: measure with --streaming")
    latency_s = _value(values, (_LATENCY,), name) / 1e3
    return TokenPoint(
        in_flight=_value(values, _RATE, name) * latency_s,
        latency_s=latency_s,
        ttft_s=_value(values, (_TTFT,), name) / 1e3,
        itl_s=_value(values, (_ITL,), name) / 1e3,
        prompt_tokens=_value(values, _PROMPT, name),
        output_tokens=_value(values, _OUTPUT, name),
        requests=_value(values, _COUNT, name) if any(metric in values for metric in _COUNT) else 1.0,
    )


def _value(values: dict[str, Row], names: tuple[str, ...], where: str) -> float:
    for name in names:
        if row := values.get(name):
            return number(row, "avg" if "avg" in row else "value", f"{where}, {name}")
    raise ProfileError(f"{where}: no row {names[0]!r}")
