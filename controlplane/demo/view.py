"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controlplane.demo.day_plan import MODELS, Day, DemoModel
from controlplane.demo.follow import Recorder
from controlplane.demo.record import Mark, Point
from controlplane.demo.report import clock

_MARKS_SHOWN = 8
_WIDE = 110
"""Columns of a terminal from which on reasons fit beside the figures."""
_PLAIN_EVERY_S = 10


class View(Protocol):
    """Something that shows a run; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """One line of progress."""
        ...

    def second(self, at_s: float, recorder: Recorder, new: Sequence[Mark]) -> None:
        """The state after one more second of load."""
        ...


def view_for(day: Day, *, json: bool) -> View:
    """The live table where standard output is a terminal that nobody parses, else plain lines on standard error."""
    console = Console()
    return LiveView(console, day) if console.is_terminal and not json else PlainView(day)


class PlainView:
    """A line every ten seconds and one for each decision, on standard error."""

    def __init__(self, day: Day) -> None:
        self._day = day

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def say(self, line: str) -> None:
        """One line of progress."""
        print(line, file=sys.stderr, flush=True)

    def second(self, at_s: float, recorder: Recorder, new: Sequence[Mark]) -> None:
        """The decisions of this second, and every ten seconds how the models fare."""
        for mark in new:
            self.say(f"{clock(mark.at_s)}  decision  {mark.model}: {mark.headline}")
        if round(at_s) % _PLAIN_EVERY_S == 0:
            models = "; ".join(_in_short(model, recorder.points[model.name][-1]) for model in MODELS)
            self.say(f"{clock(at_s)}  {self._day.phase_at(at_s):24}  {models}")


class LiveView:
    """A table that is drawn anew each second."""

    def __init__(self, console: Console, day: Day) -> None:
        self._console = console
        self._day = day
        self._live = Live(console=console, auto_refresh=False)
        self._said = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """One line of progress, above the table."""
        self._console.print(Text(line, style="dim"))

    def second(self, at_s: float, recorder: Recorder, new: Sequence[Mark]) -> None:  # noqa: ARG002 (the table has all)
        """The table."""
        table = _table(recorder, reasons=self._console.width >= _WIDE)
        self._live.update(Group(self._bar(at_s), table, _latest(recorder.marks)), refresh=True)

    def _bar(self, at_s: float) -> Text:
        width = max(10, min(60, self._console.width - 50))
        done = min(width, round(at_s / self._day.duration_s * width))
        phase = self._day.phase_at(at_s)
        return Text.assemble(
            ("━" * done, "cyan"),
            ("━" * (width - done), "dim"),
            f"  {clock(at_s)} of {clock(self._day.duration_s)}  ",
            (phase, "bold"),
        )


def _table(recorder: Recorder, *, reasons: bool) -> Table:
    """How each model fares; `reasons`: with its last decision, which takes a wide terminal."""
    table = Table(expand=True, border_style="dim")
    for name, justify in (("model", "left"), ("load", "right"), ("p50", "right"), ("p95 / objective", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("budget", justify="right", no_wrap=True)
    table.add_column("instances", no_wrap=True)
    if reasons:
        table.add_column("last decision, and why", ratio=1)
    held = {
        model["name"]: (model["units"][0]["decision"] or {}).get("headline", "") for model in recorder.fleet["models"]
    }
    for model in MODELS:
        points = recorder.points[model.name]
        if points:
            table.add_row(*_row(model, points[-1]), *([Text(held.get(model.name, ""))] if reasons else []))
    return table


def _row(model: DemoModel, point: Point) -> tuple[Text, ...]:
    p95 = Text(f"{_ms(point.p95_s)} / {_ms(model.threshold_s)}")
    if point.p95_s is not None:
        p95.stylize("red" if point.p95_s > model.threshold_s else "green")
    budget = Text("-" if point.budget_left is None else f"{point.budget_left:.0%}")
    if point.budget_left is not None and point.budget_left < 0:
        budget.stylize("red")
    load = "-" if point.arrivals_per_s is None else f"{point.arrivals_per_s:.0f}/s"
    return (Text(model.name, style="bold"), Text(load), Text(_ms(point.p50_s)), p95, budget, _instances(point))


def _instances(point: Point) -> Text:
    if point.loaded is False and not point.desired:
        return Text("not loaded", style="dim")
    ready, desired = point.ready or 0, point.desired
    text = Text("■" * ready, style="cyan")
    if desired is not None and desired != ready:
        text.append("□" * (desired - ready), style="yellow")
        text.append(f" {ready} → {desired}", style="yellow")
    else:
        text.append(f" {ready}", style="default")
    return text


def _latest(marks: Sequence[Mark]) -> Group:
    lines = [
        Text.assemble(
            (f"{clock(m.at_s)} ", "dim"),
            (f"{m.model} ", "bold"),
            m.headline,
            (f"  {m.status}", "dim"),
            overflow="ellipsis",
            no_wrap=True,
        )
        for m in marks[-_MARKS_SHOWN:]
    ]
    return Group(*lines)


def _in_short(model: DemoModel, point: Point) -> str:
    short = model.name.partition("_")[0]
    if point.loaded is False:
        return f"{short} not loaded"
    desired = "" if point.desired in (None, point.ready) else f"→{point.desired}"
    noun = "instance" if point.ready == 1 and not desired else "instances"
    return f"{short} {point.arrivals_per_s or 0:.0f}/s p95 {_ms(point.p95_s)}, {point.ready}{desired} {noun}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
