"""Requests that arrive over time: read from files, cut, scaled up. Times are seconds since its start."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.errors import MalformedPageError, NotFoundError, PermanentError

_FOLDER = "controlplane.sim.traces"
NAMED = {
    "conv": "azure_llm_2023_conv.csv.gz",
    "code": "azure_llm_2023_code.csv.gz",
    "reasoning": "servegen_reasoning_hours0to12.csv.gz",
}
"""Traces of LLM requests that come with the package; sources and licences in traces/NOTICE."""
_COUNTS = "azure_functions_2019_days1to7.csv.gz"

_AT = ("at_s", "arrival_seconds", "timestamp", "arrived_at", "arrival_time")
_PROMPT = ("prompt_tokens", "input_tokens", "context_tokens", "contexttokens", "num_prefill_tokens")
_OUTPUT = ("output_tokens", "generated_tokens", "generatedtokens", "num_decode_tokens")
MOST_TOKENS = 2**31 - 1


class Load(Protocol):
    """What arrives over time and can be had any number of times over: a log of requests, or counts by minute."""

    @property
    def span_s(self) -> float:
        """Its length."""
        ...

    def part(self, since_s: float, until_s: float) -> Load:
        """A stretch of it, whose start is 0 in the result."""
        ...

    def per_minute(self) -> NDArray[np.int64]:
        """How many arrive in each minute."""
        ...

    def sample(self, rng: np.random.Generator) -> Requests:
        """Arrivals of it as it is."""
        ...

    def times(self, factor: float, rng: np.random.Generator) -> Requests:
        """Arrivals of it with `factor` times as many users."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Arrivals in ascending order, the first at or after 0. `output_tokens` is 1 where nothing is generated."""

    at_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]

    def __post_init__(self) -> None:
        if not len(self.at_s) == len(self.prompt_tokens) == len(self.output_tokens):
            raise ValueError("a request has one arrival, one prompt and one output")
        if len(self.at_s) and (self.at_s[0] < 0 or bool(np.any(np.diff(self.at_s) < 0))):
            raise ValueError("arrivals must ascend from 0")

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def span_s(self) -> float:
        """Seconds from 0 to the last arrival; 0 without requests."""
        return float(self.at_s[-1]) if len(self.at_s) else 0.0

    def part(self, since_s: float, until_s: float) -> Requests:
        """The requests of a stretch, `until_s` excluded; its start is 0 in the result."""
        first, last = np.searchsorted(self.at_s, (since_s, until_s))
        cut = slice(int(first), int(last))
        return Requests(self.at_s[cut] - since_s, self.prompt_tokens[cut], self.output_tokens[cut])

    def per_minute(self) -> NDArray[np.int64]:
        """How many arrive in each minute, the last one perhaps not whole."""
        return np.bincount((self.at_s // 60).astype(np.int64)) if len(self) else np.zeros(0, np.int64)

    def sample(self, rng: np.random.Generator) -> Requests:  # noqa: ARG002 (nothing is left to chance)
        """Themselves."""
        return self

    def times(self, factor: float, rng: np.random.Generator, *, spread_s: float = 30.0) -> Requests:
        """The same load with `factor` times as many users.

        Each request appears `factor` times on average (whole copies, and one more by chance for the rest), its copies
        shifted by up to half of `spread_s` either way: what varies slower than that varies as before, what varies
        faster is smoothed as by more users that know nothing of each other. Token counts are kept together.
        """
        copies = np.floor(factor).astype(int) + (rng.random(len(self)) < factor % 1)
        of = np.repeat(np.arange(len(self)), copies)
        moved = self.at_s[of] + rng.uniform(-spread_s / 2, spread_s / 2, len(of))
        # reflected at both ends, so that none is lost and the last minute stays the last one
        at_s = np.abs(moved)
        at_s = np.where(at_s > self.span_s, np.maximum(2 * self.span_s - at_s, 0.0), at_s)
        order = np.argsort(at_s, kind="stable")
        return Requests(at_s[order], self.prompt_tokens[of][order], self.output_tokens[of][order])


def load(name: str) -> Requests:
    """A trace that comes with the package, else a file. Raises NotFoundError naming what there is."""
    if name in NAMED:
        with resources.as_file(resources.files(_FOLDER) / NAMED[name]) as path:
            return read_requests(path)
    if not Path(name).is_file():
        raise NotFoundError("trace or file", name, (*NAMED, f"{FUNCTIONS}NAME"))
    return read_requests(Path(name))


def read_requests(path: Path) -> Requests:
    """A log of requests from CSV, gzipped CSV, or parquet where pyarrow is installed; the earliest arrives at 0.

    Needed are columns for the arrival (`at_s`, `arrival_seconds` or `timestamp`: seconds, or dates in ISO 8601) and for
    prompt and generated tokens (`prompt_tokens`, `input_tokens`, `ContextTokens`; `output_tokens`, `GeneratedTokens`).
    Raises MalformedPageError naming file, row and what is wrong, PermanentError for a file that cannot be read.
    """
    columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    by_name = {name.strip().lower(): values for name, values in columns.items()}
    at = _seconds(path, _column(path, by_name, _AT))
    prompt = _tokens(path, _column(path, by_name, _PROMPT))
    output = _tokens(path, _column(path, by_name, _OUTPUT))
    order = np.argsort(at, kind="stable")
    at = at[order] - (at[order[0]] if len(at) else 0.0)
    return Requests(at, prompt[order], output[order])


FUNCTIONS = "functions:"
"""Before the name of one of the functions of the package's Azure Functions trace."""
DAYS = range(1, 8)


@cache
def _all_counts() -> dict[str, dict[int, NDArray[np.int64]]]:
    with resources.as_file(resources.files(_FOLDER) / _COUNTS) as path:
        columns = _csv(path)
    functions, days = np.array(columns["fn"]), np.array(columns["day"], np.int64)
    counts = np.array(columns["invocations"], np.int64)
    return {
        str(fn): {int(day): counts[(functions == fn) & (days == day)] for day in np.unique(days)}
        for fn in np.unique(functions)
    }


def read_counts(function: str, days: Sequence[int]) -> NDArray[np.int64]:
    """Invocations per minute of one of the ten functions of the package's Azure Functions trace, of some of DAYS.

    Raises NotFoundError naming what there is.
    """
    known = _all_counts()
    if function not in known:
        raise NotFoundError("function", function, tuple(known))
    for day in days:
        if day not in known[function]:
            raise NotFoundError("day", str(day), tuple(map(str, known[function])))
    return np.concatenate([known[function][day] for day in days])


def _csv(path: Path) -> dict[str, list[str]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise PermanentError(f"{path}: cannot be read as CSV: {error}") from None
    rows = [line.split(",") for line in lines if line.strip()]
    if not rows:
        raise MalformedPageError(f"{path}: is empty; a line with the names of its columns is needed")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise MalformedPageError(f"{path}: row {number} has {len(row)} columns; {len(rows[0])} are needed")
    values = list(zip(*rows[1:], strict=True)) or [()] * len(rows[0])
    return {name: list(column) for name, column in zip(rows[0], values, strict=True)}


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 (a large library that most do without)
    except ModuleNotFoundError:
        raise PermanentError(
            f"{path}: reading parquet needs pyarrow, which is not installed; CSV needs nothing"
        ) from None
    try:
        return dict(parquet.read_table(path).to_pydict())
    except (OSError, ArrowException) as error:
        raise PermanentError(f"{path}: cannot be read as parquet: {error}") from None


def _column(path: Path, columns: dict[str, list[Any]], names: Sequence[str]) -> list[Any]:
    for name in names:
        if name in columns:
            return columns[name]
    raise MalformedPageError(f"{path}: no column of these: {', '.join(names)}; there is: {', '.join(columns)}")


def _seconds(path: Path, values: list[Any]) -> NDArray[np.float64]:
    try:
        at = np.array(values, np.float64)
    except (TypeError, ValueError):
        at = np.array([_dated(path, row, value) for row, value in enumerate(values, 2)], np.float64)
    wrong = np.flatnonzero(~np.isfinite(at))
    if len(wrong):
        raise MalformedPageError(f"{path}: row {wrong[0] + 2}: {values[wrong[0]]!r} is no moment")
    return at


def _dated(path: Path, row: int, value: Any) -> float:
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise MalformedPageError(
            f"{path}: row {row}: {value!r} is no moment; seconds or ISO 8601 (UTC where no offset is given) are allowed"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(path: Path, values: list[Any]) -> NDArray[np.int32]:
    for row, value in enumerate(values, 2):
        if not str(value).strip().isdecimal() or not 1 <= int(value) <= MOST_TOKENS:
            raise MalformedPageError(f"{path}: row {row}: {value!r} tokens; a whole number from 1 up is allowed")
    return np.array(values, np.int64).astype(np.int32)
