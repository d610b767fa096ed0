"""The curve of a server and the lines through it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from controlplane.cli.tables import UNKNOWN, new_table
from controlplane.decide.profiling import BatchPoint, TokenPoint
from controlplane.domain.profiles import BatchProfile, Profile
from controlplane.profiling.measure import MeasuredStep


def curve_table(steps: Sequence[MeasuredStep]) -> RenderableType:
    """One row a load."""
    tokens = any(isinstance(point, TokenPoint) for step in steps for point in step.points)
    figures = ("token\nms", "first token\nms") if tokens else ("mean\nbatch", "batch\nms")
    table = new_table("Curve", "in\nflight", "answers\nper s", "latency\nms", *figures)
    for step in steps:
        cells = list(_figures(step)) or [UNKNOWN] * len(figures)
        table.add_row(str(step.concurrency), f"{step.per_s:.4g}", f"{step.latency_s * 1e3:.4g}", *cells)
    return table


def _figures(step: MeasuredStep) -> Iterator[str]:
    batches = [point for point in step.points if isinstance(point, BatchPoint)]
    if executions := sum(batch.executions for batch in batches):
        yield f"{sum(batch.size * batch.executions for batch in batches) / executions:.3g}"
        yield f"{sum(batch.service_s * batch.executions for batch in batches) / executions * 1e3:.4g}"
    for point in step.points:
        if isinstance(point, TokenPoint):
            yield from (f"{point.itl_s * 1e3:.4g}", f"{point.ttft_s * 1e3:.4g}")


def fit_lines(profile: Profile) -> Iterator[str]:
    """The profile in sentences."""
    if isinstance(profile, BatchProfile):
        line = f"{profile.fixed_s * 1e3:.4g} ms + {profile.per_item_s * 1e3:.4g} ms for each item"
        yield f"a batch takes {line}, up to {profile.max_batch} of them, at instance count {profile.instances}"
    else:
        itl = f"{profile.itl_base_s * 1e3:.4g} ms + {profile.itl_per_running_s * 1e3:.4g} ms for each running request"
        prefill = f"{profile.prefill_base_s * 1e3:.4g} ms + {profile.prefill_per_token_s * 1e3:.4g} ms for each token"
        yield f"a token takes {itl}"
        yield f"prefill takes {prefill} of the prompt"
        bounds = {"tokens fit into the KV cache": profile.kv_tokens, "requests run at a time": profile.max_num_seqs}
        yield from (f"{number} {what}" for what, number in bounds.items() if number is not None)
    yield f"standard error {profile.relative_error:.1%}, {profile.points} points"
