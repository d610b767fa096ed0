"""A dark page of panels, in pixels from the upper left as on a screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tests.dashboard_drawing.figures import BACK, EDGE, FAINT, PANEL, TEXT, shortened

DPI = 100
WIDTH = 1680
CELL = 34
HEAD = 64
GAP = 6
# of the font that matplotlib brings, at 1 point
_CHARACTER = 0.6 * DPI / 72


def characters(width: float, size: float) -> int:
    """How many characters of a size (points) fit a width in pixels."""
    return max(1, int(width / (size * _CHARACTER)))


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels from the upper left."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float = 10, top: float = 30, right: float = 10, bottom: float = 8) -> Box:
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


class Page:
    """Draws on a figure so many cells high."""

    def __init__(self, cells: int) -> None:
        self.height = HEAD + cells * CELL + GAP
        self.figure = Figure(figsize=(WIDTH / DPI, self.height / DPI), dpi=DPI, facecolor=BACK)

    def box(self, place: dict[str, int]) -> Box:
        """Where a panel lies on the page."""
        unit = (WIDTH - GAP) / 24
        return Box(
            GAP + place["x"] * unit,
            HEAD + place["y"] * CELL,
            place["w"] * unit - GAP,
            place["h"] * CELL - GAP,
        )

    def frame(self, box: Box, title: str) -> None:
        """A panel with its title."""
        self.rectangle(box, PANEL, edge=EDGE)
        self.text(box.x + 10, box.y + 16, shortened(title, characters(box.w - 16, 9)), 9, weight="bold")

    def rectangle(self, box: Box, fill: str, *, edge: str = "none", alpha: float = 1.0) -> None:
        self.figure.patches.append(
            Rectangle(
                (box.x / WIDTH, 1 - (box.y + box.h) / self.height),
                box.w / WIDTH,
                box.h / self.height,
                transform=self.figure.transFigure,
                facecolor=fill,
                edgecolor=edge,
                linewidth=0.8,
                alpha=alpha,
                figure=self.figure,
            )
        )

    def text(self, x: float, y: float, said: str, size: float, *, ink: str = TEXT, **style: Any) -> None:
        """Text whose left middle lies there."""
        style = {"ha": "left", "va": "center", **style}
        # a dollar sign begins no formula here
        self.figure.text(x / WIDTH, 1 - y / self.height, said.replace("$", r"\$"), fontsize=size, color=ink, **style)

    def centred(self, box: Box, said: str, size: float, *, ink: str = FAINT) -> None:
        self.text(box.x + box.w / 2, box.y + box.h / 2, said, size, ink=ink, ha="center")

    def axes(self, box: Box) -> Axes:
        """Axes inside a box, without a frame, with a faint grid."""
        axes: Axes = self.figure.add_axes(
            (box.x / WIDTH, 1 - (box.y + box.h) / self.height, box.w / WIDTH, box.h / self.height)
        )
        axes.set_facecolor("none")
        # above the frames, which are patches of the figure
        axes.set_zorder(5)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(colors=FAINT, labelsize=7, length=0, pad=3)
        axes.grid(visible=True, color=EDGE, linewidth=0.6)
        axes.set_axisbelow(True)
        return axes
