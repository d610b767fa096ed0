from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from controlplane.cli.main import app

PAGE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text(encoding="utf-8")


def commands(command: Any, path: tuple[str, ...] = ("controlplane",)) -> Iterator[tuple[str, Any]]:
    """Every command by what is typed to call it."""
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))
    if not hasattr(command, "commands"):
        arguments = [name_of(p) for p in command.params if p.param_type_name == "argument"]
        yield " ".join((*path, *arguments)), command


def name_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper().strip("{}[]")
    return str(parameter.opts[0])


def test_the_reference_tells_every_command_and_option_as_help_does() -> None:
    sections = dict(re.findall(r"^## `([^`]+)`\n\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    found = dict(commands(typer.main.get_command(app)))
    assert list(sections) == list(found)
    for called, command in found.items():
        assert sections[called].startswith(command.help.strip()), called
        rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.+) \|$", sections[called], re.MULTILINE)
        expected = [(name_of(p), p.help) for p in command.params if p.name != "help"]
        assert [(name, what) for name, _, what in rows] == expected, called
        for parameter in command.params:
            if isinstance(parameter.default, str) and parameter.default:
                assert f"| `{name_of(parameter)}` | `{parameter.default}` |" in sections[called], called


def test_every_command_has_json_where_it_prints_something() -> None:
    without = {
        called for called, command in commands(typer.main.get_command(app)) if "--json" not in str_options(command)
    }
    # what `decide` prints is JSON always
    assert without == {"controlplane run", "controlplane agent", "controlplane decide"}


def str_options(command: Any) -> list[str]:
    return [name_of(parameter) for parameter in command.params]
