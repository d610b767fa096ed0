"""YAML that people read and that other programs are run by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

HEADER = "# Written by `controlplane rules` from the configuration. Change that, and run it again.\n"


def written(tree: Mapping[str, Any], anchors: Mapping[str, str] | None = None) -> str:
    """`tree` as a generated file. A text in `anchors` is written once, and then referred to by the name there."""
    named = anchors or {}

    class Dumper(_Dumper):
        def ignore_aliases(self, data: Any) -> bool:
            return not isinstance(data, str) or data not in named

        def generate_anchor(self, node: yaml.Node) -> str:
            return named[node.value]

    return HEADER + yaml.dump(tree, Dumper=Dumper, sort_keys=False, width=2**16, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay lines, and a list of texts is one line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flat = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
