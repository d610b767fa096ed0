"""An agent with --mig on an H100 of the shim, and what is asked of it over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.test_agent import Running, agent
from tests.nvml_shim.drive import answer, environment
from tests.nvml_shim.machine import Machine

TOKEN = "the-token-of-a-test"
BIG, SMALL = {"profile": "3g.40gb", "start": 4}, {"profile": "1g.10gb", "start": 0}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    media_type: str


class Node:
    """An agent with --mig on an H100, and what is asked of it."""

    def __init__(self, running: Running, machine: Machine, token_file: Path) -> None:
        self.running = running
        self.machine = machine
        self.token_file = token_file
        self.url = running.url.removesuffix("/metrics")

    def ask(self, body: object = None, *, token: str | None = f"Bearer {TOKEN}", path: str = "/mig") -> Answer:
        """GET, or POST of a body: JSON, or bytes as they are."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {} if token is None else {"Authorization": token}
        request = urllib.request.Request(f"{self.url}{path}", sent, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answered:
                return Answer(answered.status, json.load(answered), answered.headers.get_content_type())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error), error.headers.get_content_type())

    def whole(self) -> Node:
        """With its GPU whole again, nothing in the journal, and its token."""
        self.machine.mend()
        self.machine = Machine(self.token_file.parent / "machine", "h100-80gb")
        self.token_file.write_text(f"{TOKEN}\n")
        for kept in (self.token_file.parent / "journal").glob("*.json"):
            kept.unlink()
        return self

    def cut(self, *layout: dict[str, Any], dry_run: bool = False) -> Answer:
        return self.ask({"gpu": "GPU-0", "layout": layout, "dry_run": dry_run})


def prepared(folder: Path) -> tuple[Machine, tuple[str, ...]]:
    """The machine and the options of an agent in that folder."""
    (folder / "token").write_text(TOKEN)
    answer(folder / "answers", {"init": "ok"})
    options = ("--mig", "--token-file", str(folder / "token"), "--journal", str(folder / "journal"))
    return Machine(folder / "machine", "h100-80gb"), options


def env(shim: Path, folder: Path) -> dict[str, str]:
    return environment(shim, folder / "answers") | {"NVML_SHIM_MACHINE": str(folder / "machine")}


@contextmanager
def cutting_agent(shim: Path, folder: Path, *options: str) -> Iterator[Node]:
    """Such an agent in that folder."""
    machine, more = prepared(folder)
    with agent(env(shim, folder), folder, *more, *options) as running:
        yield Node(running, machine, folder / "token")
