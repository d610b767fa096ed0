"""Faults in words: where, what stands there, what may stand there."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controlplane.domain.errors import Fault

_CREDENTIALS = re.compile(r"(?<=//)\S*@|^[^\s/@:]+:(?!//)[^\s@]*@|(?<=password=)[^&\s]*", re.IGNORECASE)
_BEHIND_THE_PATH = re.compile(r"(//[^\s?#]*[?#])\S+")
_LONGEST = 80

_ALLOWED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_unicode"), "text"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping of keys"),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), "a time as in RFC 3339"),
    "list_type": "a list",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "missing": "it is required",
}
"""By pydantic's kind of finding, of whose context it is filled; the rest is told by its own words."""


def shown(value: object) -> str:
    """A value as a message may hold it: short, and without what of a URL may be secret: user, query, fragment."""
    if value is None or isinstance(value, dict | list):
        return {type(None): "nothing", dict: "a mapping", list: "a list" if value else "an empty list"}[type(value)]
    if isinstance(value, bool):
        return str(value).lower()
    text = _CREDENTIALS.sub(lambda m: "***@" if m[0].endswith("@") else "***", str(value))
    text = _BEHIND_THE_PATH.sub(r"\1***", text)
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return repr(text) if isinstance(value, str) else text


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """X 'x'? " when one of `known` is close to `given`, else ""."""
    close = difflib.get_close_matches(str(given), list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}? " if close else ""


def one_of(given: object, known: Sequence[str]) -> str:
    """What may stand where one of `known` must."""
    return f"{did_you_mean(given, known)}one of: {', '.join(known)}" if known else "there is none to name"


def join(path: str, *steps: int | str) -> str:
    """`path` with steps added: models[2].objectives[0].latency."""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def from_pydantic(cls: type[BaseModel], error: ValidationError, path: str) -> list[Fault]:
    """One fault for each of pydantic's findings in `cls` at `path`."""
    return [_fault(cls, details, path) for details in error.errors(include_url=False)]


def _fault(cls: type[BaseModel], details: ErrorDetails, path: str) -> Fault:
    kind, loc, given = details["type"], details["loc"], details["input"]
    if kind == "invalid_key":  # such as 3: or yes: without quotes
        return Fault(
            join(path, *(str(step) for step in loc if step != "[key]")), "this key", "text; put quotes around it"
        )
    where = join(path, *(step for step in loc if step != "[key]"))
    if kind == "extra_forbidden":
        fields = _block_at(cls, loc[:-1]).model_fields
        keys = [field.alias or name for name, field in fields.items()]
        if f"{loc[-1]}_file" in keys:
            return Fault(where, "this key", f"{loc[-1]}_file: no secret in the file, but the path of one that holds it")
        return Fault(where, "this key", one_of(loc[-1], keys))
    if kind == "missing":
        return Fault(where, "nothing", allowed(details))
    return Fault(where, shown(given), "text; put quotes around it" if kind == "string_type" else allowed(details))


def allowed(details: ErrorDetails) -> str:
    """What may stand where pydantic found something else, in the words of all our faults."""
    kind, given, ctx = details["type"], details.get("input"), details.get("ctx", {})
    if kind == "value_error":
        return str(ctx.get("error") or details["msg"])
    if isinstance(given, float) and not math.isfinite(given):
        return "a finite number"
    if kind in {"enum", "literal_error"}:
        return one_of(given, re.findall(r"'([^']*)'", ctx["expected"]))
    if kind in {"string_too_short", "too_short"}:
        one, more = ("character", "characters") if kind == "string_too_short" else ("entry", "entries")
        return f"at least one {one}" if ctx["min_length"] == 1 else f"at least {ctx['min_length']} {more}"
    return _ALLOWED[kind].format(**ctx) if kind in _ALLOWED else details["msg"].replace("Input should be ", "")


def _block_at(cls: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The block in `cls` that the keys of `loc` lead to, through blocks and lists of them."""
    for step in loc:
        field = cls.model_fields.get(str(step))
        options = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        cls = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), cls)
    return cls
