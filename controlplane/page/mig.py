"""MIG layouts as a page: each GPU a bar of its memory units, now and as planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from controlplane.domain.layouts import LaidGpu, LaidModel, LaidSlice, LayoutPlan, MigPicture
from controlplane.domain.signal import Missing, Signal, last_value
from controlplane.page.document import document, facts

_UNIT, _HEIGHT, _GAP = 1000.0, 34.0, 4.0
"""The bar is so wide and high; so much is between two slices."""
_CLASSES = {"stays": "ready", "new": "load", "goes": "limit"}


def mig_page(mig: MigPicture, now: float) -> str:
    """The whole page. What is missing is told with its reason."""
    gpus = last_value(mig.gpus)
    told = [_soft(mig.gpus.why)] if isinstance(mig.gpus, Missing) else [_gpu(gpu) for gpu in gpus or ()]
    if gpus == ():
        told = [_soft("no GPU is seen")]
    mode = "not configured" if mig.mode is None else mig.mode.value
    body = [f'<h1>MIG layouts</h1><p class="soft">mode: {escape(mode)}</p>', _plan(mig.plan, now)]
    return document("MIG layouts", "\n".join([*body, *_change(mig, now), _models(mig.models), *told]))


def _change(mig: MigPicture, now: float) -> Iterator[str]:
    if mig.held:
        yield f"<p>It is not carried out: {escape(mig.held)}</p>"
    change = mig.change
    if change is None:
        return
    since_s = now - (change.began_at if change.ended_at is None else change.ended_at)
    figures = {
        "last change": change.state.value.replace("_", " "),
        "steps done": f"{change.done} of {change.steps}",
        "begun" if change.ended_at is None else "ended": f"{since_s:.0f} s ago",
    }
    yield facts(figures) + (_soft(change.why) if change.why else "")


def _plan(plan: Signal[LayoutPlan], now: float) -> str:
    if isinstance(plan, Missing):
        return f'<p class="verdict none">no plan</p>{_soft(plan.why)}'
    found = plan.value
    verdict, style = (
        ("pays", "") if found.pays else ("nothing to do", " none") if not found.steps else ("waits", " bad")
    )
    figures = {
        "GPUs or price": f"{found.cost:g}",
        "not below": f"{found.bound:g}",
        "slices changed": str(found.changed_slices),
        "rounds": str(found.rounds),
        "cutting": f"{found.change_s:.1f} s",
        "age": f"{now - plan.observed_at:.0f} s",
    }
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in found.reasons)
    return f'<p class="verdict{style}">{verdict}</p><ul>{reasons}</ul>{facts(figures)}'


def _models(models: Iterable[LaidModel]) -> str:
    rows = "".join(
        f"<tr><td>{escape(model.name)}</td><td>{_number(last_value(model.demand_per_s))}</td>"
        f"<td>{_number(model.short_now_per_s)}</td><td>{_number(model.short_then_per_s)}</td>"
        f"<td>{escape(_why(model))}</td></tr>"
        for model in models
    )
    if not rows:
        return ""
    head = "<tr><th>model</th><th>demand/s</th><th>short now/s</th><th>short as planned/s</th><th></th></tr>"
    return f"<section><h2>Models</h2><table>{head}{rows}</table></section>"


def _why(model: LaidModel) -> str:
    """Why it is planned as it is, else why its demand is missing."""
    demand = model.demand_per_s
    return model.why or (demand.why if isinstance(demand, Missing) else "")


def _gpu(gpu: LaidGpu) -> str:
    title = f"<h2>{escape(gpu.uuid)}</h2>{_soft(' '.join(filter(None, (gpu.node, gpu.name, gpu.board))))}"
    why = f"<p>{escape(gpu.why)}</p>" if gpu.why else ""
    created, destroyed = set(gpu.created), set(gpu.destroyed)
    bars = ""
    if gpu.units:
        bars = _bar("now", gpu.units, ((piece, "goes" if piece in destroyed else "stays") for piece in gpu.now))
        if gpu.planned is not None:
            marked = ((piece, "new" if piece in created else "stays") for piece in gpu.planned)
            bars += _bar("planned", gpu.units, marked)
    return f"<section>{title}{why}{bars}</section>"


def _bar(name: str, units: int, pieces: Iterable[tuple[LaidSlice, str]]) -> str:
    drawn = "".join(_drawn(units, pieces))
    return (
        f'<p class="soft">{name}</p><svg viewBox="0 0 {_UNIT:g} {_HEIGHT:g}" role="img" aria-label="{name}"'
        f' style="width:100%;height:auto"><rect width="{_UNIT:g}" height="{_HEIGHT:g}" rx="5" fill="var(--off)"/>'
        f"{drawn}</svg>"
    )


def _drawn(units: int, pieces: Iterable[tuple[LaidSlice, str]]) -> Iterator[str]:
    for piece, mark in pieces:
        x, width = piece.start * _UNIT / units, piece.size * _UNIT / units - _GAP
        text = " ".join((piece.profile, *piece.models))
        shown = text if len(text) * 7 < width else text[: max(1, int(width / 7) - 1)] + "…"
        yield (
            f"<g><title>{escape(f'{text}, from unit {piece.start}')}</title>"
            f'<rect x="{x:.1f}" width="{width:.1f}" height="{_HEIGHT:g}" rx="5" fill="var(--{_CLASSES[mark]})"'
            f' fill-opacity="{1 if piece.models else 0.45}"/>'
            f'<text x="{x + width / 2:.1f}" y="22" text-anchor="middle" font-size="13" fill="var(--card)">'
            f"{escape(shown)}</text></g>"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'
