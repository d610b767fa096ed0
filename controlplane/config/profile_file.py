"""Profile files: how they are written, and from there to the domain's profile, or every fault at once."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError

from controlplane.config.block import Block
from controlplane.config.faults import from_pydantic, join, one_of, shown
from controlplane.config.text_file import UnreadableError, read_text_file
from controlplane.config.units import parse_whole
from controlplane.config.yaml_source import read_yaml
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind
from controlplane.domain.profiles import BatchProfile, Profile, TokenProfile

Tokens = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000), BeforeValidator(parse_whole)]
Points = Annotated[int, Field(ge=2, le=1_000_000_000), BeforeValidator(parse_whole)]


class _ProfileFile(Block):
    kind: str = Field(description="Which of both profiles it is.")
    source: str = Field(min_length=1, description="Where the points come from.")
    measured_at: AwareDatetime = Field(description="When they were measured, with the time zone.")
    points: Points = Field(description="How many points were measured.")
    relative_error: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        description="Standard error of the points around the line, of their mean."
    )


class BatchProfileFile(_ProfileFile):
    """A model that executes batches, on Triton: seconds by the size of a batch."""

    kind: Literal["triton"] = Field(description="A model on Triton.")
    fixed_s: Seconds = Field(description="Seconds that a batch takes whatever its size.")
    per_item_s: Seconds = Field(description="Seconds that each item of a batch takes besides.")
    max_batch: Count = Field(description="Largest batch for which that holds.")
    instances: Count = Field(description="Instances that shared the device meanwhile.")


class TokenProfileFile(_ProfileFile):
    """A model that generates tokens, on vLLM and the like: of one replica."""

    kind: Literal["vllm"] = Field(description="A model that generates tokens.")
    itl_base_s: Seconds = Field(description="Seconds between two tokens whatever the load.")
    itl_per_running_s: Seconds = Field(description="Seconds that each running request adds to that.")
    prefill_base_s: Seconds = Field(description="Seconds to the first token whatever the prompt, without waiting.")
    prefill_per_token_s: Seconds = Field(description="Seconds that each token of the prompt adds to that.")
    kv_tokens: Count | None = Field(default=None, description="Tokens that fit into the KV cache.")
    max_num_seqs: Count | None = Field(default=None, description="Requests that run at a time at most.")
    prompt_tokens: Tokens = Field(description="Mean tokens of a prompt while it was measured.")
    output_tokens: Tokens = Field(description="Mean tokens of an answer while it was measured.")


PROFILE_FILES: dict[str, type[BatchProfileFile | TokenProfileFile]] = {
    "triton": BatchProfileFile,
    "vllm": TokenProfileFile,
}
_Values: TypeAlias = dict[str, Any]


def kind_of(profile: Profile) -> str:
    """The `kind` of its file."""
    return "triton" if isinstance(profile, BatchProfile) else "vllm"


def suits(profile: Profile, kind: ServerKind) -> bool:
    """Whether it can be that of a model on servers of `kind`."""
    return isinstance(profile, BatchProfile) == (kind is ServerKind.TRITON)


def load_profile(path: str, where: str) -> tuple[Profile | None, list[Fault]]:
    """The profile in the file at `path`, or its faults, all of them; `where` is the key that names the file."""
    try:
        text = read_text_file(path)
    except UnreadableError:
        return None, [Fault(where, repr(path), "a readable profile file, as controlplane profile writes it")]
    return parse_profile(text, where)


def parse_profile(text: str, where: str) -> tuple[Profile | None, list[Fault]]:
    """As load_profile, from YAML text."""
    tree, faults = read_yaml(text)
    faults = [Fault(f"{where}: {fault.path}", fault.value, fault.allowed) for fault in faults]
    if not tree:
        return None, faults
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in PROFILE_FILES:
        return None, [*faults, Fault(join(where, "kind"), shown(kind), one_of(kind, tuple(PROFILE_FILES)))]
    form = PROFILE_FILES[kind]
    try:
        file = form.model_validate(tree)
    except ValidationError as error:
        return None, [*faults, *from_pydantic(form, error, where)]
    values: _Values = {**file.model_dump(exclude={"kind"}), "measured_at": file.measured_at.timestamp()}
    profile: Profile = BatchProfile(**values) if kind == "triton" else TokenProfile(**values)
    least_s = profile.service_s(1) if isinstance(profile, BatchProfile) else profile.itl_s(1)
    if least_s <= 0:
        key = "fixed_s" if isinstance(profile, BatchProfile) else "itl_base_s"
        faults.append(Fault(join(where, key), "0", "above 0 where the other seconds of its line are 0"))
    return (None if faults else profile), faults


def write_profile(profile: Profile) -> str:
    """The text of its file."""
    values: _Values = {field.name: getattr(profile, field.name) for field in fields(profile)}
    at = datetime.fromtimestamp(round(profile.measured_at), UTC)
    file = PROFILE_FILES[kind_of(profile)].model_validate({**values, "kind": kind_of(profile), "measured_at": at})
    told = {**file.model_dump(exclude_none=True), "measured_at": at.isoformat()}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
