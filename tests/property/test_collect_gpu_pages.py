"""Pages of agents and of DCGM exporters, spoiled anywhere: GPUs or a MalformedPageError, never anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from controlplane.collect.gpu.agent_page import gpus_of_page
from controlplane.collect.gpu.dcgm import gpus_of_dcgm
from controlplane.collect.gpu.gpus import Gpus
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.signal import Known, Missing
from controlplane.publish.metrics.gpus import GpuMetrics
from tests.unit.agent.readings import AT, CUT, LOST, WHOLE


def agent_page() -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GpuMetrics(Known((WHOLE, CUT, LOST), AT)))
    return generate_latest(registry).decode()


PAGES: dict[Callable[[str, str, float], Gpus], str] = {
    gpus_of_page: agent_page(),
    gpus_of_dcgm: (Path(__file__).parents[1] / "pages/dcgm-exporter-documented.txt").read_text(),
}
BITS = st.one_of(
    st.sampled_from(
        [
            "",
            "\n",
            '"',
            "{",
            "}",
            ",",
            "=",
            "-1",
            "NaN",
            "+Inf",
            "-Inf",
            "1e400",
            "99999999999999999999",
            "_",
            "\x00",
            "é",
        ]
    ),
    st.text(max_size=4),
)


@pytest.mark.parametrize("read", PAGES, ids=lambda read: str(read.__name__))
@given(data=st.data())
def test_a_spoiled_page_gives_gpus_or_says_that_it_is_malformed(
    read: Callable[[str, str, float], Gpus], data: st.DataObject
) -> None:
    text = PAGES[read]
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 12)))
        text = text[:begin] + data.draw(BITS) + text[end:]
    with contextlib.suppress(MalformedPageError):
        assert isinstance(read(text, "n", AT), Known | Missing)
