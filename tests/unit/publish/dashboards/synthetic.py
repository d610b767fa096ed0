"""Series that look like those of a small fleet in a busy hour, for any expression that a dashboard asks."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence

from controlplane.domain import names
from tests.dashboard_drawing import Series
from tests.dashboard_lint import selectors

START = 1_795_330_800.0
END = START + 3 * 3600.0
STEP = 60.0
_BURST = (START + 4000.0, START + 7000.0)

_VALUES: dict[str, tuple[str, ...]] = {
    names.NODE: ("gpu-node-1",),
    names.GPU: ("GPU-5a1c", "GPU-77e0"),
    names.SLICE: ("MIG-1", "MIG-2"),
    names.PROFILE: ("3g.40gb",),
    names.START: ("0", "4"),
    names.SIZE: ("4",),
    names.INDEX: ("0",),
    names.NAME: ("NVIDIA H200",),
    names.STEP: ("set_instances", "load"),
    names.BINDING: ("demand", "dwell"),
    names.STATUS: ("succeeded", "failed"),
    names.RESULT: ("good", "bad"),
    names.OUTCOME: ("success", "backend"),
    names.SEVERITY: ("page", "ticket"),
    names.WINDOW: ("1h", "6h"),
    names.VERDICT: ("helped", "no_gain", "harmed"),
    names.PHASE: ("infer", "ready"),
    names.REASON: ("capacity", "hw_thermal"),
    names.KNOB: ("load", "set_instances"),
    names.CURRENCY: ("USD",),
    names.WORKLOAD: ("llama",),
    names.KIND: ("pin",),
    names.ALERT: ("ServerDown",),
    names.CAUSE: ("",),
    names.VERSION: ("0.2.0",),
    names.STATE: ("awake",),
    names.USE: ("running", "waiting"),
    "instance": ("control-plane-0",),
    "model_name": ("llama-8b",),
    "le": ("0.1", "0.25", "0.5", "1", "2.5", "+Inf"),
}
_PLACES = (
    {names.MODEL: "bert_classifier", names.SERVER: "triton-0", names.OBJECTIVE: "latency_100ms_gateway"},
    {names.MODEL: "bert_classifier", names.SERVER: "triton-1", names.OBJECTIVE: "availability_gateway"},
    {names.MODEL: "deepfm_recommender", names.SERVER: "triton-1", names.OBJECTIVE: "latency_50ms_mean_slices"},
    {names.MODEL: "llama-8b", names.SERVER: "llama-0", names.OBJECTIVE: "ttft_1s_server"},
)
_PLACED = (names.MODEL, names.SERVER, names.OBJECTIVE)
_DECIDED = (names.STEP, names.BINDING)
Curve = Callable[[float, int], float]


def _wave(low: float, high: float) -> Curve:
    """Rises with the burst, wobbles a little; later series are lower."""

    def curve(at: float, number: int) -> float:
        lifted = 1 / (1 + math.exp(-(at - _BURST[0]) / 240)) - 1 / (1 + math.exp(-(at - _BURST[1]) / 240))
        wobble = 0.04 * math.sin(at / 300 + number) + 0.02 * math.sin(at / 77)
        return low + (high - low) * max(0.0, lifted + wobble) / (1 + 0.6 * number)

    return curve


def _level(*values: float) -> Curve:
    return lambda _, number: values[min(number, len(values) - 1)]


def _in_burst(value: float, otherwise: float = 0.0) -> Curve:
    return lambda at, number: value if number == 0 and _BURST[0] + 300 < at < _BURST[1] else otherwise


_CURVES: tuple[tuple[str, Curve], ...] = (
    ("histogram_quantile", _wave(0.08, 0.9)),
    (names.ALERT_FACTOR, _level(13.44, 5.6)),
    (names.ALERT_FIRING, _in_burst(1)),
    (names.ALERT_FROZEN, _level(0)),
    (names.MODEL_DECISION, _in_burst(1, 1)),
    (names.OBJECTIVE_BURN_RATE, _wave(0.4, 17)),
    (
        names.OBJECTIVE_BUDGET_LEFT,
        lambda at, number: 0.9 - 0.1 * number - 0.5 * max(0.0, min(1.0, (at - _BURST[0]) / 4000)),
    ),
    (names.OBJECTIVE_ATTAINMENT, _level(0.9968, 0.9974)),
    (names.OBJECTIVE_TARGET, _level(0.99)),
    (names.OBJECTIVE_EXHAUSTED, _wave(40000, 4000)),
    (names.OBJECTIVE_COVERAGE, _level(0.998)),
    (names.OBJECTIVE_BAD_OF_CAPACITY, _wave(0.2, 0.9)),
    ("_tick", _wave(0.2, 0.6)),
    (
        names.MODEL_DESIRED_INSTANCES,
        lambda at, number: 4.0 if _BURST[0] + 120 < at < _BURST[1] + 900 else 2.0 - number // 2,
    ),
    (names.MODEL_INSTANCES, lambda at, number: 4.0 if _BURST[0] + 300 < at < _BURST[1] + 960 else 2.0 - number // 2),
    (names.MODEL_CAPACITY, lambda at, _: 240.0 if _BURST[0] + 300 < at < _BURST[1] + 960 else 120.0),
    (names.MODEL_PENDING, lambda at, number: float(round(_wave(1, 14)(at, number)))),
    (names.MODEL_DEMAND_QUANTILE, _wave(0.9, 0.99)),
    (names.MODEL_DEMAND, _wave(60, 200)),
    (names.MODEL_IN_FLIGHT, _in_burst(1)),
    (names.DIRECTION_CHANGES, _in_burst(2)),
    (names.STARTUP_S, _level(21, 8)),
    (names.STARTUPS_SEEN, _level(14, 33)),
    (names.WORKLOAD_MEMBERS, _level(1, 3)),
    (names.WORKLOAD_LISTED, _level(1)),
    (names.LEADING, _level(1)),
    (names.STORE_FAILING, _level(0)),
    (names.NOTICES, _level(0.01, 0)),
    (names.SERVER_READING_AGE, _level(2, 3, 4)),
    (names.MODEL_LOADED, _level(1)),
    (names.GPU_MIG_ENABLED, _level(0, 1)),
    (names.GPU_PROCESSES, _level(2)),
    (names.GPU_SLICES, _level(0, 2)),
    (names.GPU_INFO, _level(1)),
    (names.GPU_ECC_UNCORRECTED, _level(0)),
    (names.SERVER_LIVE, lambda at, number: 0.0 if number == 1 and START + 1200 < at < START + 1800 else 1.0),
    (names.OVERRIDES_ACTIVE, lambda at, number: float(number == 1 and at > START + 8600)),
    (names.OVERRIDE_EXPIRES, _level(2400)),
    (names.FREEZES_ACTIVE, _level(0)),
    (names.GPU_THROTTLED, _in_burst(1)),
    (names.GPU_LAST_XID, _level(0)),
    (f"{names.PREFIX}_gpu_memory", _level(9e10, 6e10)),
    (names.GPU_POWER, _wave(120, 610)),
    (names.GPU_TEMPERATURE, _wave(38, 71)),
    (names.GPU_SM_CLOCK, _wave(1.9e9, 1.7e9)),
    (f"{names.PREFIX}_gpu", _wave(0.1, 0.86)),
    (names.CONDITION, _in_burst(1)),
    (names.MODEL_COST, _wave(0.9, 3.8)),
    (names.EFFECTS, _level(7, 2, 1)),
    (names.ACTIONS, lambda at, number: float(number == 0 and int(at - START) % 1800 == 0)),
    (names.DECISIONS, lambda at, number: float(number == 0 and int(at - START) % 900 == 0)),
    ("_bucket", _wave(1, 30)),
)


def answer(expr: str, start: float, end: float, step: float) -> Sequence[Series]:
    """Series labelled as the expression groups them; of replicas and scrapes none."""
    read = [selector.name for selector in selectors(expr)]
    if any(name.startswith(("nv_", "vllm:", names.MODEL_ADAPTERS)) for name in read):
        return []
    head = "histogram_quantile" if "histogram_quantile" in expr else read[0]
    curve = next((curve for part, curve in _CURVES if part in head), _wave(20, 160))
    if " / " in expr and " > 0)" in expr and "histogram" not in expr:
        curve = _wave(0.3, 0.92) if "bad" not in expr and names.OUTCOME not in expr else _wave(0.001, 0.04)
    found = []
    for number, labels in enumerate(_labels(expr)):
        times = [start + step * at for at in range(int((end - start) / step) + 1)]
        scale = (1 + number) if "le" in labels else 1.0
        points = [(at, curve(at, 0 if "le" in labels else number) * scale) for at in times]
        if "changes(" in expr:
            points = [(at, float(curve(at, number) != curve(at - step, number))) for at in times]
        if re.search(r"[=!]= 1$|> 0$", expr):
            points = [(at, value) for at, value in points if value > 0]
        found.append(Series(labels, points))
    return found


def _labels(expr: str) -> Iterator[dict[str, str]]:
    asked = _asked(expr)
    key = [label for label in asked if label in _PLACED]
    free = [label for label in asked if label not in _PLACED and label not in _DECIDED]
    others = itertools.product(*(_VALUES.get(label, ("x",)) for label in free))
    for number, (place, values) in enumerate(itertools.product(_places(key), others)):
        decided = {label: _VALUES[label][number % 2] for label in asked if label in _DECIDED}
        yield {label: place[label] for label in key} | dict(zip(free, values, strict=True)) | decided


def _asked(expr: str) -> list[str]:
    """Labels of what the expression gives."""
    first = re.search(r"\b(?:sum|max|min|avg)(?: by \(([^)]*)\))? ?\(", expr)
    asked = [label.strip() for label in (first[1] or "").split(",") if label.strip()] if first else []
    if "group_right" in expr:
        asked = [label.strip() for label in re.findall(r"\bby \(([^)]*)\)", expr)[-1].split(",")]
    return [label for label in asked if label != "le" or "histogram_quantile" not in expr]


def _places(key: Sequence[str]) -> list[dict[str, str]]:
    """Models where they run, or what of it is asked."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for place in _PLACES:
        row = {label: place[label] for label in key}
        found.setdefault(tuple(row.values()), row)
    return list(found.values())
