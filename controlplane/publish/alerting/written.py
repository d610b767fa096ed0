"""YAML that people read and that other programs are run by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

HEADER = "# Written by `controlplane rules` from the configuration. Change that, and run it again.\n"

# The one in C writes the same a dozen times faster, but names its anchors itself; some builds of PyYAML lack it.
_Fast: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def written(tree: Mapping[str, Any], anchors: Mapping[str, str] | None = None) -> str:
    """`tree` as a generated file. A text in `anchors` is written once, and then referred to by the name there."""
    dumper = _naming(anchors) if anchors else _Plain
    return HEADER + yaml.dump(tree, Dumper=dumper, sort_keys=False, width=2**16, allow_unicode=True)


class _Plain(_Fast):  # type: ignore[misc,valid-type]
    """Texts of several lines stay lines, and a list of texts is one line."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Nothing is referred to."""
        return True


class _Named(yaml.SafeDumper):
    """As `_Plain`, with anchors of our own."""


def _naming(anchors: Mapping[str, str]) -> type[yaml.SafeDumper]:
    class Dumper(_Named):
        def ignore_aliases(self, data: Any) -> bool:
            return not isinstance(data, str) or data not in anchors

        def generate_anchor(self, node: yaml.Node) -> str:
            return anchors[node.value]

    return Dumper


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flat = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


for _dumper in (_Plain, _Named):
    _dumper.add_representer(str, _text)
    _dumper.add_representer(list, _list)
