"""The agent's cutter in a process that has the shim on its path; started by the tests.

Each line on standard input is a command as JSON: `begin`, `layouts`, `resume`, `rules` or `apply` with its arguments.
The answer is one line of JSON, with `raised` where something was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from controlplane.act.mig.documents import layout_document, outcome_document
from controlplane.agent.mig.cutter import Cutter, Limits
from controlplane.decide.mig import Slice
from controlplane.domain.errors import ControlPlaneError
from tests.nvml_shim.drive import ROOT, answer, environment
from tests.nvml_shim.machine import Machine
from tests.nvml_shim.rules import rules


class Cutting:
    """Cutters in one process, one after the other, each on a machine and with a journal of its own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._folder = folder
        self.answers = folder / "answers"
        self.environment = environment(library, self.answers) | {"NVML_SHIM_MACHINE": str(folder / "machine")}
        Machine(folder / "machine", "h100-80gb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nvml_shim.cutting"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, *keys: str, journal: Path, deadline_s: float = 60.0, settle_s: float = 0.3) -> Cutting:
        """Begin anew with GPUs of these boards, whole."""
        answer(self.answers, {"init": "ok"})
        self.machine = Machine(self._folder / "machine", *keys)
        self.journal = journal
        self.ask({"do": "begin", "journal": str(journal), "deadline_s": deadline_s, "settle_s": settle_s})
        return self

    def apply(self, *layout: tuple[str, int], dry_run: bool = False, gpu: str = "GPU-0") -> dict[str, Any]:
        """What came of the layout; `done` are its steps that were done, in words."""
        told = self.ask({"do": "apply", "gpu": gpu, "layout": layout, "dry_run": dry_run})
        return told | {
            "done": _words(s for s in told.get("steps", ()) if s["done"]),
            "all": _words(told.get("steps", ())),
        }

    def layouts(self) -> list[dict[str, Any]]:
        return list(self.ask({"do": "layouts"})["gpus"])

    def resume(self) -> list[dict[str, Any]]:
        return list(self.ask({"do": "resume"})["outcomes"])

    def rules(self) -> dict[str, Any]:
        return self.ask({"do": "rules"})

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _words(steps: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{step['action']} {step['profile']} at {step['start']}" for step in steps]


def _do(cutter: Cutter, command: dict[str, Any]) -> dict[str, Any]:
    if command["do"] == "layouts":
        return {"gpus": [layout_document(gpu) for gpu in cutter.layouts()]}
    if command["do"] == "resume":
        done = (cutter.resume(gpu) for gpu in cutter.unfinished())
        return {"outcomes": [outcome_document(outcome) for outcome in done if outcome]}
    if command["do"] == "rules":
        return rules()
    layout = [Slice(profile, start) for profile, start in command["layout"]]
    return outcome_document(cutter.apply(command["gpu"], layout, dry_run=command["dry_run"]))


def main() -> None:
    cutter = Cutter(Path(), time.monotonic)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "begin":
                limits = Limits(command["deadline_s"], command["settle_s"])
                cutter = Cutter(Path(command["journal"]), time.monotonic, limits)
                told: dict[str, Any] = {}
            else:
                told = _do(cutter, command)
        except ControlPlaneError as error:
            told = {"raised": type(error).__name__, "why": str(error)}
        print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
