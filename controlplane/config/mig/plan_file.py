"""What `controlplane mig` is given: GPUs, models and, where known, who is on which slice; or layouts to apply."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from controlplane.config.block import Block
from controlplane.config.faults import from_pydantic, join, one_of, shown
from controlplane.config.mig.boards import boards
from controlplane.config.mig.profile_name import Amount, Gib, ProfileName
from controlplane.config.text_file import UnreadableError, read_text_file
from controlplane.config.units import parse_whole
from controlplane.config.yaml_source import read_yaml
from controlplane.decide.mig import Board, Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.layouts import fits
from controlplane.domain.errors import ConfigurationError, Fault

B = TypeVar("B", bound=BaseModel)


def _board(key: str) -> str:
    if key not in boards():
        raise ValueError(one_of(key, tuple(boards())))
    return key


class SliceItem(Block):
    """A slice that is there."""

    profile: ProfileName = Field(description="Its profile; `whole`: the GPU with MIG off.")
    start: Annotated[int, Field(ge=0, le=64), BeforeValidator(parse_whole)] = Field(
        default=0, description="Its first memory unit."
    )
    models: tuple[str, ...] = Field(default=(), description="The models that have a copy on it, where that is known.")


class GpuItem(Block):
    """A GPU."""

    uuid: str = Field(min_length=1, description="Its UUID, or any other name that no other one has.")
    board: Annotated[str, AfterValidator(_board)] = Field(description="What it is: a key of the table of boards.")
    layout: tuple[SliceItem, ...] = Field(default=(), description="The slices that are there.")
    price: Amount | None = Field(default=None, description="What it costs to use it; for all GPUs or for none.")


class ModelItem(Block):
    """A model."""

    name: str = Field(min_length=1, description="Its name.")
    demand: Amount = Field(description="Requests per second that its copies are to serve.")
    profiles: dict[ProfileName, Amount] = Field(
        description="What one copy serves per second, by the profile of its slice."
    )
    min_memory_gib: Gib | None = Field(default=None, description="Memory that a copy needs.")
    share: bool = Field(default=False, description="Its copies may be on a slice with those of other such models.")


def load_question(path: str | Path) -> MigQuestion:
    """The question in a file, JSON or YAML. Raises ConfigurationError with every fault found."""
    return parse_question(_text(path), str(path))


def parse_question(text: str, source: str) -> MigQuestion:
    """As load_question, from text."""
    tree, faults = _tree(text, "an object with gpus and models")
    if tree or not faults:
        gpus = _items(GpuItem, tree, "gpus", faults)
        models = _items(ModelItem, tree, "models", faults)
        faults += [Fault(key, "this key", one_of(key, ("gpus", "models"))) for key in tree if key not in _KEYS]
        faults += [*_gpu_faults(tree, gpus, models), *_model_faults(models)]
        if not faults:
            return MigQuestion(tuple(_gpu(item) for _, item in gpus), tuple(_model(item) for _, item in models))
    raise ConfigurationError(source, tuple(faults))


_KEYS = ("gpus", "models")
_PLANNED = "what `controlplane mig plan --json` printed, or another object with layouts"


def load_layouts(path: str | Path) -> tuple[Gpu, ...]:
    """GPUs with the layouts that they are to have: `layouts` in a file, such as the answer of a plan, JSON or YAML.

    Raises ConfigurationError with every fault found.
    """
    tree, faults = _tree(_text(path), _PLANNED)
    if tree or not faults:
        gpus = _items(GpuItem, tree, "layouts", faults, f"a list, as in {_PLANNED}")
        faults += _twice([(at, "uuid", item.uuid) for at, item in gpus])
        faults += [fault for at, item in gpus for fault in _layout_faults(at, item)]
        if not faults:
            return tuple(_gpu(item) for _, item in gpus)
    raise ConfigurationError(str(path), tuple(faults))


def _text(path: str | Path) -> str:
    try:
        return read_text_file(path)
    except UnreadableError as error:
        raise ConfigurationError(str(path), (Fault("the file", error.value, error.allowed, str(error)),)) from None


def _tree(text: str, form: str) -> tuple[dict[Any, Any], list[Fault]]:
    """JSON, which YAML would read slowly and not all numbers of; else YAML. `form`: what it should be, in words."""
    repeated: list[Fault] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = Counter(key for key, _ in pairs)
        repeated.extend(
            Fault(key, f"{n} of this key", "each key once in an object") for key, n in keys.items() if n > 1
        )
        return dict(pairs)

    try:
        tree = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        found, faults = read_yaml(text)
        no_mapping = (fault.path == "the file" and fault.value != "this" for fault in faults)
        return found, [replace(f, allowed=form) if no else f for f, no in zip(faults, no_mapping, strict=True)]
    if not isinstance(tree, dict):
        return {}, [Fault("the file", shown(tree), form)]
    return tree, repeated


def _items(
    form: type[B], tree: dict[Any, Any], key: str, faults: list[Fault], allowed: str = "a list"
) -> list[tuple[str, B]]:
    """The entries of a list that could be read, with where they stand."""
    if not isinstance(tree.get(key), list):
        value = shown(tree[key]) if key in tree else "nothing"
        faults.append(Fault(key, value, allowed))
        return []
    items = []
    for i, raw in enumerate(tree[key]):
        try:
            items.append((join(key, i), form.model_validate(raw)))
        except ValidationError as error:
            faults += from_pydantic(form, error, join(key, i))
    return items


def _gpu_faults(
    tree: dict[Any, Any], gpus: Sequence[tuple[str, GpuItem]], models: Sequence[tuple[str, ModelItem]]
) -> Iterator[Fault]:
    yield from _twice([(path, "uuid", item.uuid) for path, item in gpus])
    raw = tree.get("models")
    # of entries that could not be read, the name may be meant all the same
    named = {str(entry.get("name")) for entry in raw if isinstance(entry, dict)} if isinstance(raw, list) else set()
    priced = [item.price is not None for _, item in gpus]
    for path, item in gpus:
        if item.price is None and any(priced):
            yield Fault(join(path, "price"), "nothing", "a price for every GPU, or for none")
        yield from _layout_faults(path, item)
        for i, piece in enumerate(item.layout):
            for j, name in enumerate(piece.models):
                if name not in named:
                    where = join(path, "layout", i, "models", j)
                    yield Fault(where, shown(name), one_of(name, sorted(model.name for _, model in models)))


def _layout_faults(path: str, item: GpuItem) -> Iterator[Fault]:
    """Slices for which the board has no place, or not beside those before them."""
    board = boards()[item.board]
    there: list[Slice] = []
    for i, entry in enumerate(item.layout):
        where = join(path, "layout", i)
        profile = board.profile(entry.profile)
        if profile is None:
            known = tuple(p.name for p in board.profiles)
            yield Fault(join(where, "profile"), shown(entry.profile), f"on {board.key} {one_of(entry.profile, known)}")
        elif entry.start not in profile.starts:
            starts = ", ".join(map(str, profile.starts))
            yield Fault(join(where, "start"), str(entry.start), f"for {profile.name} on {board.key} one of: {starts}")
        elif not fits(board, there, piece := Slice(profile.name, entry.start)):
            other = next(other for other in there if not board.together(piece, other))
            value = f"{piece.profile} at {piece.start}"
            yield Fault(where, value, f"what can be beside {other.profile} at {other.start}")
        else:
            there.append(piece)


def _model_faults(models: Sequence[tuple[str, ModelItem]]) -> Iterator[Fault]:
    yield from _twice([(path, "name", item.name) for path, item in models])
    for path, item in models:
        if item.share and item.min_memory_gib is None:
            yield Fault(join(path, "min_memory_gib"), "nothing", "the memory of a copy, since it shares its slice")


def _twice(named: Sequence[tuple[str, str, str]]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for path, key, name in named:
        if first.setdefault(name, path) != path:
            yield Fault(join(path, key), shown(name), f"a name that no other has; {first[name]} has it")


def _gpu(item: GpuItem) -> Gpu:
    board = boards()[item.board]
    models = {_slice(board, entry): entry.models for entry in item.layout}
    known = {piece: names for piece, names in models.items() if names}
    price = 1.0 if item.price is None else item.price
    return Gpu(item.uuid, board, tuple(sorted(models)), price, known)


def _slice(board: Board, entry: SliceItem) -> Slice:
    profile = board.profile(entry.profile)
    return Slice(entry.profile if profile is None else profile.name, entry.start)


def _model(item: ModelItem) -> MigModel:
    return MigModel(item.name, item.demand, dict(item.profiles), item.min_memory_gib or 0.0, item.share)
