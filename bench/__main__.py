"""python -m bench [--quick] [--json] [--only NAME]: runs the benchmarks and prints a table."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from bench import (
    collect_tick,
    forecast,
    front,
    history_time,
    mig,
    mig_day,
    parse_time,
    pure_time,
    reaction,
    sim_triton,
    simulator,
    store_time,
)
from bench.figure import Figure
from controlplane.domain.errors import ControlPlaneError


def main(arguments: list[str] | None = None) -> int:
    """0 when every goal was met, 1 when one was not or a benchmark could not run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures beside their bounds.")
    parser.add_argument("--quick", action="store_true", help="one load step in place of four, one fleet size")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--only",
        choices=(
            "parse",
            "collect",
            "decide",
            "store",
            "history",
            "reaction",
            "simulator",
            "simulated-triton",
            "forecast",
            "front",
            "mig",
            "mig-day",
        ),
        help="one of them",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the load steps")
    given = parser.parse_args(arguments)
    benchmarks: dict[str, Callable[[], list[Figure]]] = {
        "parse": lambda: [parse_time.run()],
        "collect": lambda: [collect_tick.run(quick=given.quick)],
        "decide": lambda: [pure_time.run()],
        "store": lambda: [store_time.run()],
        "history": lambda: history_time.run(quick=given.quick),
        "simulator": lambda: [simulator.run()],
        "simulated-triton": lambda: [sim_triton.run(quick=given.quick, seed=given.seed, say=_say)],
        "forecast": lambda: forecast.run(quick=given.quick, seed=given.seed),
        "front": lambda: front.run(quick=given.quick, seed=given.seed - 1, say=_say),
        "mig": lambda: mig.run(seed=given.seed),
        "mig-day": lambda: mig_day.run(quick=given.quick, seed=given.seed, say=_say),
        "reaction": lambda: [reaction.run(steps=1 if given.quick else 4, seed=given.seed, say=_say)],
    }
    figures: list[Figure] = []
    try:
        for name, benchmark in benchmarks.items():
            if given.only in (None, name):
                _say(f"{name} ...")
                figures.extend(benchmark())
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps({"python": platform.python_version(), "figures": [asdict(figure) for figure in figures]}))
    else:
        _show(figures)
    return 0 if all(figure.met for figure in figures) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(figures: list[Figure]) -> None:
    table = Table("what", "figure", "goal", "met", show_lines=True)
    for figure in figures:
        table.add_row(figure.name, "\n".join((figure.value, *figure.notes)), figure.goal, "yes" if figure.met else "NO")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    sys.exit(main())
