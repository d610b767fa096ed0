"""Profiles measured on a real Triton, and on a server that behaves as a vLLM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import fmean

import pytest

from controlplane.cli.main import execute
from controlplane.config.profile_file import parse_profile
from controlplane.demo.rig import TritonRig
from controlplane.domain.errors import NotFoundError, ProfileError
from controlplane.domain.fleet import ServerKind
from controlplane.domain.profiles import BatchProfile, TokenProfile
from controlplane.profiling.measure import Measured, MeasuredStep, Wanted, measure
from tests.completion_server import CompletionServer
from tests.rig_fixtures import RigFactory

BERT = "bert_classifier"
SCALE = 2.0
"""Slow enough that what Triton adds to each batch is little."""


@pytest.fixture(scope="module")
def rig(module_triton_rig: RigFactory) -> TritonRig:
    return module_triton_rig([BERT], repository={"time_scale": SCALE}, load=(BERT,))


@pytest.mark.triton
def test_the_line_of_a_model_on_a_real_triton_is_found(
    rig: TritonRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bert.yaml"
    arguments = ["--model", BERT, "--seconds-per-point", "1", "--max-concurrency", "16", "--out", str(out), "--json"]
    assert execute(["profile", rig.http_url, *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    profile, faults = parse_profile(out.read_text(encoding="utf-8"), "profile")

    assert faults == []
    assert isinstance(profile, BatchProfile)
    assert (profile.max_batch, profile.instances) == (8, 1)
    for size in (1, 2, 4, 8):  # as its configuration has it
        assert profile.service_s(size) == pytest.approx(SCALE * (0.00258 + 0.013691 * size), rel=0.1, abs=0.01)
    assert profile.relative_error < 0.1
    assert [step["concurrency"] for step in document["steps"]][:4] == [1, 2, 4, 8]
    assert document["steps"][3]["per_s"] > 1.05 * document["steps"][0]["per_s"]


@pytest.mark.triton
def test_a_model_that_triton_does_not_have_is_told_in_its_words(
    rig: TritonRig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["profile", rig.http_url, "--model", "nope"]) == 1
    assert "Request for unknown model: 'nope' is not found" in capsys.readouterr().err
    assert execute(["profile", rig.http_url, "--model", BERT, "--kind", "vllm"]) == 1
    assert "/v1/models: Not Found" in capsys.readouterr().err


@pytest.fixture
async def vllm() -> AsyncIterator[CompletionServer]:
    async with CompletionServer(max_num_seqs=4) as server:
        server.token_s, server.per_running_s, server.per_prompt_token_s = 0.03, 0.015, 0.001
        yield server


async def profiled(
    server: CompletionServer, model: str = "tiny", token: str = ""
) -> tuple[Measured, list[MeasuredStep]]:
    wanted, steps = Wanted(server.url, model, ServerKind.VLLM, 8, 0.3, 64, 4, token), list[MeasuredStep]()
    return await measure(wanted, 1000.0, steps.append), steps


async def test_the_lines_of_a_server_that_generates_tokens_are_found(vllm: CompletionServer) -> None:
    measured, steps = await profiled(vllm)
    profile = measured.profile
    assert isinstance(profile, TokenProfile)
    one, four, first = (fmean(vllm.took_s[key]) for key in ((1, 0), (4, 0), (1, 64)))
    assert [profile.itl_s(1), profile.itl_s(4)] == pytest.approx([one, four], rel=0.2)
    assert one >= 0.045 and four >= 0.09 and first >= 64 * 0.001 + 0.045  # noqa: PT018
    # prefill is up to the first token, which takes its time too
    assert profile.prefill_s(64) == pytest.approx(first, rel=0.2)
    assert (profile.kv_tokens, profile.max_num_seqs) == (16000, 4)
    assert (profile.prompt_tokens, profile.output_tokens) == (64, 4)
    assert [step.concurrency for step in steps] == [1, 2, 4, 8]
    assert measured.ended == "as many requests in flight as were allowed"
    prompts = [asked["prompt"] for _, asked in vllm.asked]
    assert len({prompt.split()[0] for prompt in prompts}) == len(prompts), "a prefix cache would have them"


async def test_a_server_that_wants_a_token_is_told_and_gets_it(vllm: CompletionServer) -> None:
    vllm.key = "hush"
    with pytest.raises(ProfileError, match=r"/v1/models: Unauthorized \(HTTP 401: --token-file\?\)"):
        await profiled(vllm)
    with pytest.raises(NotFoundError, match="no model named 'other'; known: tiny"):
        await profiled(vllm, "other", "hush")


async def test_what_the_server_refuses_is_told_in_its_words(vllm: CompletionServer) -> None:
    vllm.refuse = (400, {"object": "error", "message": "max_tokens is too large, hush"})
    vllm.key = "hush"
    with pytest.raises(ProfileError, match=r"max_tokens is too large, \*\*\*"):
        await profiled(vllm, token="hush")


async def test_a_stream_that_breaks_off_makes_no_point(vllm: CompletionServer) -> None:
    vllm.break_off = "out of memory"
    with pytest.raises(ProfileError, match="out of memory"):
        await asyncio.wait_for(profiled(vllm), 20)


async def test_the_curve_is_shown_although_no_line_goes_through_it(
    vllm: CompletionServer, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm.turn_away_above = 1
    options = ["--kind", "vllm", "--seconds-per-point", "0.2", "--prompt-tokens", "16", "--output-tokens", "2"]
    assert await asyncio.to_thread(execute, ["profile", vllm.url, "--model", "tiny", *options]) == 1
    told = capsys.readouterr()
    assert told.err.endswith("running requests were measured: at least two loads are needed for a line\n")
    assert told.out.startswith("Curve")
    assert len(told.out.splitlines()) == 4
