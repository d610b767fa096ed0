"""What was asked for on each GPU and how far it came, in one file a GPU on this node.

It is written before and after each step, and replaced in one go, so that after a crash at any point the next process
knows what was meant. What is there it reads from the GPU, never from here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controlplane.act.mig.documents import outcome_document, outcome_of_document, piece_document
from controlplane.domain.errors import ConflictError
from controlplane.domain.mig import LayoutOutcome, LayoutState, LayoutStep, Slice

_FILE_NAME = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Intent:
    """The layout asked for, the UUIDs of slices that stay, and what became of it by `at`, unix seconds."""

    layout: tuple[Slice, ...]
    staying: tuple[str, ...]
    outcome: LayoutOutcome
    at: float

    @property
    def unfinished(self) -> bool:
        """Whether whoever carried it out ended before its end."""
        return self.outcome.state is LayoutState.UNDER_WAY

    def came(self, at: float, state: LayoutState, detail: str = "") -> Intent:
        """The same, with what became of it."""
        return replace(self, at=at, outcome=replace(self.outcome, state=state, detail=detail))

    def did(self, at: float, number: int, step: LayoutStep) -> Intent:
        """The same, with a step as it is now."""
        steps = (*self.outcome.steps[:number], step, *self.outcome.steps[number + 1 :])
        return replace(self, at=at, outcome=replace(self.outcome, steps=steps))


class Journal:
    """The folder of the files. Raises ConflictError where it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self, gpu: str) -> Iterator[None]:
        """Only one process and one call at a time changes a GPU; the lock goes with the process that has it.

        Raises ConflictError while another one has it.
        """
        with _usable(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path(gpu, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(f"GPU {gpu}: its layout is being changed by another process") from None
            yield
        finally:
            os.close(handle)

    def write(self, intent: Intent) -> None:
        """Keep it, in place of what was kept of this GPU; on the disk when this returns."""
        document = {
            "at": intent.at,
            "layout": [piece_document(piece) for piece in intent.layout],
            "staying": list(intent.staying),
            "outcome": outcome_document(intent.outcome),
        }
        path = self._path(intent.outcome.gpu, "json")
        fresh = path.with_suffix(".new")
        with _usable(self._folder):
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def read(self, gpu: str) -> Intent | None:
        """What is kept of a GPU; None where nothing is, or nothing that can be read."""
        try:
            return _intent(json.loads(self._path(gpu, "json").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, gpu: str, kind: str) -> Path:
        return self._folder / f"{_FILE_NAME.sub('_', gpu)}.{kind}"


def _intent(document: Any) -> Intent:
    layout = tuple(Slice(str(piece["profile"]), int(piece["start"])) for piece in document["layout"])
    staying = tuple(map(str, document["staying"]))
    return Intent(layout, staying, outcome_of_document(document["outcome"]), float(document["at"]))


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or "unusable"
        raise ConflictError(f"the journal of MIG changes in {folder} cannot be written: {why}") from None
