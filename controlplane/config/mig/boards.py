"""The boards in boards.yaml, as the planner takes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from controlplane.decide.mig.boards import WHOLE, Board, Profile


@cache
def boards() -> Mapping[str, Board]:
    """Every board by its key; each has its profiles and `whole`."""
    text = (files("controlplane.config") / "mig" / "boards.yaml").read_text(encoding="utf-8")
    return MappingProxyType({item["key"]: _board(item) for item in yaml.safe_load(text)["boards"]})


def _board(item: Mapping[str, Any]) -> Board:
    whole = Profile(WHOLE, item["compute_slices"], item["units"], (0,), 1)
    return Board(
        item["key"],
        item["units"],
        (*map(_profile, item["profiles"]), whole),
        tuple((frozenset(pair["these"]), frozenset(pair["those"])) for pair in item.get("apart", ())),
        tuple(item["names"]),
        tuple(item["pci"]),
        item["confidence"],
        tuple(item["sources"]),
    )


def _profile(item: Mapping[str, Any]) -> Profile:
    starts, aliases = tuple(item["starts"]), tuple(item.get("aliases", ()))
    return Profile(**{**item, "starts": starts, "aliases": aliases})
