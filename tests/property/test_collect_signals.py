"""Pages of the wanted families of Triton and vLLM, and of families like them, read as prometheus_client does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.collect.exposition import PageReader
from controlplane.collect.signals import Backend
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.vllm.signals import VLLM
from controlplane.collect.vllm.tokens import FIELDS, tokens_between
from controlplane.domain.observation import Counter
from tests.unit.collect.test_exposition import comparable, reference

LABELS = (
    "model",
    "version",
    "reason",
    "gpu_uuid",
    "_team",
    "model_name",
    "engine",
    "le",
    "finished_reason",
    "sleep_state",
    "num_gpu_blocks",
    "running_lora_adapters",
)
values = st.sampled_from(["0", "1", "0.3", "+Inf", "a,b", "GPU-1", "None", '\\"}\\n', "awake", "tiny", ""])
numbers = st.one_of(
    st.integers(0, 10**15).map(str), st.floats(0, 1e12).map(repr), st.sampled_from(["Nan", "1.7953e+09"])
)


@st.composite
def pages(draw: st.DrawFn, wanted: frozenset[str]) -> str:
    """Families with their comment lines, each label set of a family once."""
    alike = st.sampled_from(sorted(wanted)).flatmap(
        lambda name: st.sampled_from([name, f"{name}_created", f"{name}s", f"x{name}", name[:-1]])
    )
    lines: list[str] = []
    for name in draw(st.lists(st.one_of(st.sampled_from(sorted(wanted)), alike), max_size=12, unique=True)):
        if draw(st.booleans()):
            lines += [f"# HELP {name} {draw(values)}", f"# TYPE {name} {draw(st.sampled_from(['gauge', 'untyped']))}"]
        sets = st.dictionaries(st.sampled_from(LABELS), values, max_size=4)
        for labels in draw(st.lists(sets, max_size=4, unique_by=lambda found: tuple(sorted(found.items())))):
            inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
            lines.append(f"{name}{{{inner}}} {draw(numbers)}" if labels else f"{name} {draw(numbers)}")
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("backend", [TRITON, VLLM], ids=lambda backend: backend.name)
@given(data=st.data())
def test_the_wanted_families_read_as_prometheus_client_reads_them_and_no_others(
    backend: Backend, data: st.DataObject
) -> None:
    reader = PageReader(backend.wanted)
    for text in data.draw(st.lists(pages(backend.wanted), min_size=1, max_size=3)):
        expected = [sample for sample in reference(text) if sample[0] in backend.wanted]
        found = [(name, *sample) for name, samples in reader.parse(text).items() for sample in samples]
        assert comparable(found) == comparable(expected)


counts = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 1000), max_size=len(FIELDS))
steps = st.lists(st.dictionaries(st.sampled_from("012"), counts, max_size=3), min_size=1, max_size=8)


@given(steps, st.integers(0, 7))
def test_tokens_cut_anywhere_add_up_to_the_same(grown: list[dict[str, dict[Counter, int]]], cut: int) -> None:
    """Counters that only grow: what is counted up to a reading and from it is what is counted over both."""
    engines = {engine: dict.fromkeys(FIELDS, 0.0) for engine in "012"}
    readings = [{engine: dict(counters) for engine, counters in engines.items()}]
    for step in grown:
        for engine, more in step.items():
            for counter, count in more.items():
                engines[engine][counter] += count
        readings.append({engine: dict(counters) for engine, counters in engines.items()})
    middle = readings[min(cut, len(grown))]
    whole = tokens_between(readings[0], readings[-1], anew=False)
    parts = [
        tokens_between(before, after, anew=False) for before, after in ((readings[0], middle), (middle, readings[-1]))
    ]
    assert whole is not None
    for field in FIELDS.values():
        assert getattr(whole, field) == sum(getattr(part, field) for part in parts)


@given(counts, counts, st.booleans())
def test_tokens_are_never_negative_and_never_more_than_stand_there(
    before: dict[Counter, int], after: dict[Counter, int], anew: bool
) -> None:
    tokens = tokens_between(
        {"0": {counter: float(count) for counter, count in before.items()}},
        {"0": {counter: float(count) for counter, count in after.items()}},
        anew=anew,
    )
    if tokens is None:
        assert not after
        return
    for counter, field in FIELDS.items():
        count = getattr(tokens, field)
        assert count is None or 0 <= count <= after[counter]
