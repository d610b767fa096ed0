"""YAML text into plain values, with every duplicate key told."""

from __future__ import annotations

from typing import Any

import yaml

from controlplane.config.faults import shown
from controlplane.domain.errors import Fault

_MAPPING = "a mapping of keys, as in the configuration reference"


class _Loader(yaml.SafeLoader):
    """A safe loader that notes keys given twice in one mapping, which YAML forbids and PyYAML lets pass."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[Fault] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class, after a look at the keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    where = f"line {key.start_mark.line + 1}"
                    self.duplicates.append(Fault(where, f"a second {key.value!r}", "each key once in a mapping"))
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> tuple[dict[str, Any], list[Fault]]:
    """The mapping in `text` and the faults of its form; the mapping is empty when there is none."""
    try:
        tree, duplicates = _load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        return {}, [Fault(where, "this", f"valid YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, such as 2024-13-45
        return {}, [Fault("the file", "this", f"valid YAML: {str(error).splitlines()[0]}")]
    except RecursionError:
        return {}, [Fault("the file", "nesting this deep", _MAPPING)]
    if tree is None or tree == {}:
        return {}, [Fault("the file", "nothing", _MAPPING)]
    if not isinstance(tree, dict):
        return {}, [*duplicates, Fault("the file", "text" if isinstance(tree, str) else shown(tree), _MAPPING)]
    return tree, duplicates


def _load(text: str) -> tuple[Any, list[Fault]]:
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.duplicates
    finally:
        loader.dispose()
