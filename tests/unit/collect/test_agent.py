"""The agent's page, read back: what went in comes out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controlplane.collect.gpu.agent import AgentTarget
from controlplane.collect.gpu.agent_page import gpus_of_page
from controlplane.collect.gpu.gpus import Gpus, merged
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.gpu import GPU_SIGNALS
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import AgentSpec
from controlplane.publish.metrics.gpus import GpuMetrics
from tests.unit.agent.readings import AT, CUT, LOST, WHOLE

SPEC = AgentSpec("node-1", "http://node-1:8901/metrics")
INFO = 'controlplane_agent_nvml_up 1\ncontrolplane_gpu_info{gpu="G",index="0",name="X"} 1\n'


def page(gpus: Gpus) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GpuMetrics(gpus))
    return generate_latest(registry).decode()


class FakePages:
    """Answers with a page, or not at all."""

    def __init__(self) -> None:
        self.text: str | None = None

    async def get_text(self, target: str, url: str, timeout_s: float) -> str:
        assert (url, timeout_s) == (SPEC.url, 1)
        if self.text is None:
            raise TargetUnreachableError(target, "connection refused")
        return self.text


def test_the_readings_that_went_in_come_out_with_every_reason_and_the_node() -> None:
    gpus = gpus_of_page(page(Known((WHOLE, CUT, LOST), AT)), "node-1", AT)
    assert gpus == Known(tuple(replace(gpu, node="node-1") for gpu in (WHOLE, CUT, LOST)), AT)


def test_a_machine_without_gpus_is_known_to_have_none() -> None:
    assert gpus_of_page(page(Known((), AT)), "node-1", AT) == Known((), AT)


def test_nvml_that_does_not_answer_there_is_missing_with_the_reason_from_there() -> None:
    assert gpus_of_page(page(Missing("no NVIDIA driver")), "node-1", AT) == Missing("no NVIDIA driver")


def test_a_figure_that_an_older_agent_does_not_have_is_missing() -> None:
    gpus = gpus_of_page(
        'controlplane_agent_nvml_up{reason=""} 1\ncontrolplane_gpu_info{gpu="GPU-1",index="0",name="X"} 1\n', "n", AT
    )
    assert isinstance(gpus, Known)
    (gpu,) = gpus.value
    assert {getattr(gpu, name) for name in GPU_SIGNALS} == {Missing("not on the agent's page")}


def test_processes_of_an_older_agent_are_of_no_known_server() -> None:
    text = INFO + 'controlplane_gpu_processes{gpu="G"} 1\ncontrolplane_gpu_process_info{gpu="G",pid="7"} 1\n'
    gpus = gpus_of_page(text, "n", AT)
    assert isinstance(gpus, Known)
    assert isinstance(gpus.value[0].processes, Known)
    (process,) = gpus.value[0].processes.value
    assert (process.pid, process.ports, process.pod_uid) == (7, *[Missing("not on the agent's page")] * 2)


@pytest.mark.parametrize(
    "text",
    [
        "up 1\n",
        'controlplane_agent_nvml_up{reason=""} 1\ncontrolplane_gpu_info{gpu="GPU-1"} 1\n',
        'controlplane_agent_nvml_up{reason=""} 1\ncontrolplane_gpu_info{gpu="G",index="x",name="X"} 1\n',
        INFO + 'controlplane_gpu_memory_used_bytes{gpu="G"} NaN\n',
        INFO + 'controlplane_gpu_utilisation_ratio{gpu="G"} NaN\n',
        INFO + 'controlplane_gpu_mig_enabled{gpu="G"} NaN\n',
        INFO + 'controlplane_gpu_throttled{gpu="G",reason="sw_power_cap"} NaN\n',
        INFO + 'controlplane_gpu_processes{gpu="G"} 1\ncontrolplane_gpu_process_info{gpu="G",pid="x"} 1\n',
        INFO + 'controlplane_gpu_processes{gpu="G"} 1\ncontrolplane_gpu_process_info{gpu="G",pid="1",ports="x"} 1\n',
        INFO + 'controlplane_gpu_slices{gpu="G"} 1\ncontrolplane_gpu_slice_info{gpu="G",slice="S"} 1\n',
    ],
)
def test_a_page_of_something_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedPageError, match="agent n: "):
        gpus_of_page(text, "n", AT)


async def test_an_agent_that_goes_away_leaves_its_gpus_until_they_are_stale_and_says_why() -> None:
    target, pages = AgentTarget(SPEC, max_age_s=15), FakePages()
    assert target.reading(0) == Missing("never read")
    assert await target.read(pages, 1, lambda: 1.0) is not None  # type: ignore[arg-type]
    missing = target.reading(1)
    assert isinstance(missing, Missing)
    assert missing.why.endswith("connection refused")
    pages.text = page(Known((WHOLE,), AT))
    assert await target.read(pages, 1, lambda: AT) is None  # type: ignore[arg-type]
    pages.text = None
    await target.read(pages, 1, lambda: AT + 5)  # type: ignore[arg-type]
    assert isinstance(target.reading(AT + 5), Known)
    old = target.reading(AT + 20)
    assert isinstance(old, Stale)
    assert old.why.endswith("connection refused")
    assert isinstance(old.value[0].utilisation, Stale)


def test_gpus_of_all_nodes_make_one_list_in_which_none_is_twice() -> None:
    own: Gpus = Known((WHOLE, CUT), AT)
    far: Gpus = Known((replace(WHOLE, node="node-1"),), AT + 1)
    both = merged({"node-1": far, "this machine": own})
    assert both == Known((replace(WHOLE, node="node-1"), CUT), AT + 1)
    assert merged({"node-1": far, "node-2": Missing("refused")}) == far
    assert merged({"a": Missing("refused"), "b": Missing("no driver")}) == Missing("a: refused; b: no driver")
    old: Gpus = Stale((WHOLE,), AT, 99.0, "refused")
    assert merged({"a": old, "b": Missing("no driver")}) == old
