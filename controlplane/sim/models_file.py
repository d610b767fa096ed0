"""The file that names the models of a simulation under one quota, and from there to values, or every fault at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from controlplane.config.block import Block
from controlplane.config.faults import from_pydantic, join
from controlplane.config.text_file import UnreadableError, read_text_file
from controlplane.config.units import Name, Whole
from controlplane.config.yaml_source import read_yaml
from controlplane.domain.errors import ConfigurationError, Fault

_MOST_REPLICAS = 1000


class SimulatedModel(Block):
    """A model, its load and what it runs on; keys are as the options of the same name."""

    name: Name
    trace: Annotated[str, Field(min_length=1)]
    priority: Whole = 0
    peak_replicas: Annotated[Whole, Field(ge=1, le=_MOST_REPLICAS)] = 20
    since: str = ""
    until: str = ""
    service: str = ""
    ttft: str = ""
    itl: str = "50ms"
    latency: str = "100ms"


class ModelsFile(Block):
    """Models, and the GPUs that all of them together may have."""

    quota: Annotated[Whole, Field(ge=1)]
    models: Annotated[list[SimulatedModel], Field(min_length=1)]


def read_models(path: str | Path) -> ModelsFile:
    """What the file names. Raises ConfigurationError with every fault found."""
    try:
        text = read_text_file(path)
    except UnreadableError as error:
        raise ConfigurationError(str(path), (Fault("the file", error.value, error.allowed, str(error)),)) from None
    tree, faults = read_yaml(text)
    try:
        file = ModelsFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(
            str(path), (*faults, *(from_pydantic(ModelsFile, error, "") if tree else ()))
        ) from None
    named = Counter(model.name for model in file.models)
    faults += [
        Fault(join("models", i, "name"), repr(m.name), "each name once")
        for i, m in enumerate(file.models)
        if named[m.name] > 1
    ]
    if faults:
        raise ConfigurationError(str(path), tuple(faults))
    return file
