"""Our entries in the text of mig-parted's file; all else in it stays as it was written, comments too."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml

from controlplane.act.mig.operator.cuts import PREFIX, Entry
from controlplane.domain.errors import ConflictError

_EMPTY = "version: v1\nmig-configs:\n"
_OURS = re.compile(rf"^[ \t]+{PREFIX}[0-9a-f]{{12}}-[ab]: .*\n?", re.MULTILINE)
_HEAD = re.compile(r"^mig-configs:[ \t]*(?:\{\}|null)?[ \t]*(?:#.*)?$\n?", re.MULTILINE)
_INDENT = re.compile(r"[ \t]*(?:#.*)?\n|([ \t]+)")


def entries(text: str) -> dict[str, Any]:
    """All entries by name. Raises ConflictError for a text that is no such file."""
    try:
        tree = yaml.safe_load(text or _EMPTY)
    except yaml.YAMLError:
        tree = None
    found = tree.get("mig-configs", ()) if isinstance(tree, dict) else ()
    if not isinstance(found, dict | None):
        raise ConflictError("the ConfigMap's config.yaml is no file of mig-parted: it has no `mig-configs`")
    return found or {}


def with_entries(text: str, wanted: Mapping[str, Entry], used: Collection[str]) -> str:
    """The text with these entries of ours; others of ours stay where their name is `used`.

    Raises ConflictError for a text that is no such file, or is written such that lines cannot be added to it.
    """
    text = text or _EMPTY
    before = entries(text)
    kept = {name: entry for name, entry in before.items() if _is_ours(name) and name in used}
    ours = {**kept, **wanted}
    others = {name: entry for name, entry in before.items() if not _is_ours(name)}
    rest = _OURS.sub("", text)
    head = _HEAD.search(rest)
    if head is not None:
        after = rest[head.end() :]
        lines = "".join(f"{_indent(after)}{name}: {json.dumps(entry)}\n" for name, entry in sorted(ours.items()))
        rest = f"{rest[: head.start()]}mig-configs:{_comment(head[0])}\n{lines}{after}"
    if head is None or entries(rest) != others | ours:
        raise ConflictError("the ConfigMap's config.yaml must have `mig-configs:` on a line, and its entries below")
    return rest


def _is_ours(name: str) -> bool:
    return _OURS.match(f" {name}: ") is not None


def _comment(head: str) -> str:
    _, mark, comment = head.strip().partition("#")
    return f"  #{comment}" if mark else ""


def _indent(after: str) -> str:
    """That of the entries that are there."""
    at = 0
    while found := _INDENT.match(after, at):
        if found[1]:
            return str(found[1])
        at = found.end()
    return "  "
