"""Several models under one quota as a page and as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from controlplane.page.document import document as page
from controlplane.page.document import facts
from controlplane.sim.front import FIGURES
from controlplane.sim.peers.registry import entry
from controlplane.sim.report import curves
from controlplane.sim.runner import Outcome
from controlplane.sim.together import Tenant

Found = Mapping[str, Mapping[str, Outcome]]
"""Outcomes by policy and model."""
_HEADS = ("policy", "model", "GPU-hours", "attainment", "worst 5 min", "actions", "flips")


def document(tenants: Sequence[Tenant], quota_gpus: int, found: Found) -> dict[str, Any]:
    """Every model under every policy."""
    return {
        "quota_gpus": quota_gpus,
        "models": [
            {
                "name": tenant.name,
                "priority": tenant.priority,
                "requests": len(tenant.world.requests),
                "peak_replicas": tenant.world.peak_replicas,
                "initial_replicas": tenant.world.initial,
                "gpus_per_replica": tenant.gpus,
                "startup_s": tenant.world.startup.mean_s,
            }
            for tenant in tenants
        ],
        "policies": {
            policy: {name: {figure: getattr(outcome, figure) for figure in FIGURES} for name, outcome in by.items()}
            for policy, by in found.items()
        },
    }


def rows(found: Found) -> list[tuple[str, ...]]:
    """Figures in words: policy, model, GPU-hours, attainment, worst 5 minutes, actions, flips."""
    return [
        (
            entry(policy).title,
            name,
            f"{outcome.gpu_hours:.1f}",
            f"{outcome.attainment:.2%}",
            f"{outcome.worst_5min:.1%}",
            str(outcome.actions),
            str(outcome.flips),
        )
        for policy, by_model in found.items()
        for name, outcome in by_model.items()
    ]


def render(tenants: Sequence[Tenant], quota_gpus: int, found: Found) -> str:
    """The HTML text: a table, then load, supply and attainment of every model under every policy."""
    worlds = {tenant.name: tenant.world for tenant in tenants}
    titles = "".join(f"<th>{head}</th>" for head in _HEADS)
    cells = (
        "".join(f'<td data-name="{head}">{escape(text)}</td>' for head, text in zip(_HEADS, row, strict=True))
        for row in rows(found)
    )
    told = (
        f"{tenant.name}: {len(tenant.world.requests):,} requests, {tenant.world.peak_replicas} replicas of "
        f"{tenant.gpus} GPUs at the peak, priority {tenant.priority}"
        for tenant in tenants
    )
    sections = (
        f"<section><h2>{escape(entry(policy).title)}: {escape(name)}</h2>"
        f"{facts({'GPU-hours': f'{outcome.gpu_hours:.1f}', 'attainment': f'{outcome.attainment:.2%}'})}"
        f"{curves(outcome.curve, worlds[name])}</section>"
        for policy, by_model in found.items()
        for name, outcome in by_model.items()
    )
    body = (
        f"<h1>Simulation of {len(tenants)} models on {quota_gpus} GPUs</h1>"
        f'<p class="soft">{escape("; ".join(told))}.</p>'
        f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in cells)}</tbody></table>"
        f"{''.join(sections)}"
    )
    return page(f"controlplane: {len(tenants)} models on {quota_gpus} GPUs", body)
