"""What every page is made of: the frame, boxes of figures, panels with a plot, pins over them and times below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from controlplane.page.plot import svg


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour stands for in a plot. `kind`: dash, or the class of a ground."""

    colour: str
    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """A sign above a plot at a `share` of its width; `text` is shown when it is pointed at; `target` is an element."""

    share: float
    sign: str
    text: str
    target: str


def document(title: str, body: str) -> str:
    """A whole page."""
    css = (resources.files("controlplane.page") / "page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>
{css}</style></head><body>
{body}
</body></html>
"""


def facts(named: Mapping[str, str]) -> str:
    """Figures by name, in boxes. The figures are HTML."""
    boxes = (f"<div><dt>{escape(name)}</dt><dd>{figure}</dd></div>" for name, figure in named.items())
    return f"<dl>{''.join(boxes)}</dl>"


def panel(title: str, keys: Iterable[Key], drawn: Iterable[str], labels: Mapping[float, str], size: str = "") -> str:
    """A plot with its title, its legend and labels by their height (0 top, 1 bottom). `size`: "", low."""
    legend = "".join(
        f'<span class="key {key.kind}" style="--c:var(--{key.colour})">{escape(key.text)}</span>' for key in keys
    )
    beside = "".join(f'<span style="{_height(at)}">{escape(text)}</span>' for at, text in labels.items())
    return f"""<div class="head"><b>{escape(title)}</b><span>{legend}</span></div>
<div class="plot{f" {size}" if size else ""}">{svg(*drawn)}{beside}</div>
"""


def pins(signs: Iterable[Pin]) -> str:
    """A row of signs."""
    return f'<div class="pins">{"".join(_pin(sign) for sign in signs)}</div>'


def times(ticks: Sequence[tuple[float, str]]) -> str:
    """Moments below a plot, by the share of its width."""
    shown = (f'<span{_edge(at)} style="left:{at * 100:.2f}%">{escape(text)}</span>' for at, text in ticks)
    return f'<div class="times">{"".join(shown)}</div>'


def _pin(pin: Pin) -> str:
    return (
        f'<a href="#{escape(pin.target)}" style="left:{pin.share * 100:.2f}%;--x:{pin.share * 100:.0f}">'
        f"{pin.sign}<i>{escape(pin.text)}</i></a>"
    )


def _edge(share: float) -> str:
    """What is told at an edge stands inside it."""
    return ' class="first"' if share <= 0 else ' class="last"' if share >= 1 else ""


def _height(at: float) -> str:
    """Labels of the lower half stand on their line, so that none falls out of the plot."""
    return f"bottom:{(1 - at) * 100:.1f}%" if at > 0.5 else f"top:{at * 100:.1f}%"
