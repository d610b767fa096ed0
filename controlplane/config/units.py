"""The written forms of durations, shares and addresses, each parsed once, here.

The parsers raise ValueError whose text says what is allowed; pydantic carries it to the fault.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from controlplane.domain.objectives import Period

_LATEST_S = 1e11
_LONGEST_S = 100 * 365 * 86400.0
_RAREST_PER_S, _MOST_PER_S = 1e-6, 1e9
_MOST_BYTES = 2**50
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_UNITS = {
    "w": Decimal(604800),
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_AMOUNT = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile("".join(rf"(?:{_AMOUNT}{unit})?" for unit in _UNITS), re.ASCII)
_RATE = re.compile(rf"{_AMOUNT}\s*/\s*([smh])", re.ASCII)
_VERSION = re.compile(r"[1-9]\d{0,18}", re.ASCII)
_MEMORY = re.compile(rf"{_AMOUNT}\s*([KMGT]i?)B", re.ASCII)
_MEMORY_UNITS = {prefix + i: (1024 if i else 1000) ** n for n, prefix in enumerate("KMGT", 1) for i in ("", "i")}
_PERCENT = re.compile(rf"{_AMOUNT}\s*%", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{1,8}", re.ASCII)
_GRPC = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", re.ASCII)

DURATION_FORM = "a duration above 0 with its unit, such as 100ms, 5s, 1m30s, 2h, 28d"
SHARE_FORM = "a percentage such as 99.9% or a fraction such as 0.999, above 0 and below 1"
NAME_FORM = "letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'"
URL_FORM = "http(s)://HOST[:PORT][/PATH] without credentials, query or fragment"
TEMPLATE_FORM = "without {{ and }}: what receives it would take that for a template"
PRICE_FORM = "a number of 0 or more, such as 2.5"
CURRENCY_FORM = "1 to 8 letters, such as EUR"
GPU_NAME_FORM = "the name of a GPU, such as NVIDIA H100 80GB HBM3"
RATE_FORM = "a number above 0 per second, minute or hour, such as 50/s, 3000/m; 0.000001/s to 1000000000/s"
VERSION_FORM = "the number of a version in the model repository, such as 2"
WINDOW_FORM = f"a duration such as 28d, or a period of the calendar: {', '.join(Period)}"
CRON_FORM = (
    "minute, hour, day of month, month and day of week with spaces between, such as 0 8 * * mon-fri; days of the week"
    " by name, since programs number them differently"
)
MOMENT_FORM = "a time such as 2026-11-20T10:00Z (UTC where no offset is given), or unix seconds"
ZONE_FORM = "a time zone by its IANA name, such as Europe/Berlin"
MEMORY_FORM = "an amount of memory with its unit, such as 512MiB, 4GiB, 80GB; at most 1024TiB"
GRPC_FORM = "HOST:PORT, such as 127.0.0.1:8001"
STORE_FORM = "sqlite:///FILE or postgresql+psycopg://USER@HOST[:PORT]/DATABASE"


def parse_duration(value: object) -> float:
    """Seconds of "1m30s" and the like, at most a century."""
    seconds = parse_any_duration(value)
    if seconds > _LONGEST_S:
        raise ValueError(f"at most {format_duration(_LONGEST_S)}")
    return seconds


def parse_any_duration(value: object) -> float:
    """The same of any length. Exact decimal arithmetic, so that 100ms is the float 0.1."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError(DURATION_FORM)
    seconds = sum(Decimal(n) * size for n, size in zip(match.groups(), _UNITS.values(), strict=True) if n)
    if seconds <= 0:
        raise ValueError(DURATION_FORM)
    return float(seconds)


def format_duration(seconds: float) -> str:
    """The written form of a duration, without units that are zero; weeks are written as days."""
    rest, parts = Decimal(repr(seconds)), []
    for unit in ("d", "h", "m", "s"):
        whole, rest = divmod(rest, _UNITS[unit])
        if whole:
            parts.append(f"{int(whole)}{unit}")
    if rest:
        parts.append(f"{(rest / _UNITS['ms']).normalize():f}ms")
    return "".join(parts) or "0s"


def parse_window(value: object) -> float | Period:
    """Seconds of a duration, or a period."""
    if isinstance(value, str) and value.strip() in set(Period):
        return Period(value.strip())
    try:
        return parse_any_duration(value)
    except ValueError:
        raise ValueError(WINDOW_FORM) from None


def format_window(window: float | Period) -> str:
    """The written form of a window."""
    return window.value if isinstance(window, Period) else format_duration(window)


def parse_zone(value: object) -> ZoneInfo:
    """The time zone of a name."""
    try:
        return ZoneInfo(value) if isinstance(value, str) else ZoneInfo("")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(ZONE_FORM) from None


def parse_cron(value: object) -> str:
    """A cron schedule, as it is written."""
    fields = value.split() if isinstance(value, str) else []
    if len(fields) != 5 or any(sign.isdigit() for sign in fields[4]):
        raise ValueError(CRON_FORM)
    try:
        trigger = CronTrigger.from_crontab(" ".join(fields), timezone="UTC")
    except ValueError:
        raise ValueError(CRON_FORM) from None
    if trigger.get_next_fire_time(None, _ANY_TIME) is None:
        raise ValueError("a day that comes: no such month has that day")
    return " ".join(fields)


def parse_moment(value: object) -> float:
    """Unix seconds of a time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(MOMENT_FORM) from None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST_S:
        raise ValueError(MOMENT_FORM)
    return float(value)


def parse_share(value: object) -> float:
    """A fraction in (0, 1) from "99.9%" or 0.999. A bare number of 1 or more is refused: 99 what?"""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(SHARE_FORM)  # noqa: TRY004 - pydantic wants ValueError
    try:
        percent = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
        share = Decimal(percent[1]) / 100 if percent else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(SHARE_FORM) from None
    if share.is_nan() or not 0 < share < 1 or float(share) >= 1.0:
        raise ValueError(SHARE_FORM)
    return float(share)


def format_share(share: float) -> str:
    """The written form of a share."""
    return f"{share * 100:.10g}%"


def parse_rate(value: object) -> float:
    """How many per second, from "50/s" and the like."""
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    per_s = float(Decimal(found[1]) / _UNITS[found[2]]) if found else 0.0
    if not _RAREST_PER_S <= per_s <= _MOST_PER_S:
        raise ValueError(RATE_FORM)
    return per_s


def format_rate(rate_per_s: float) -> str:
    """The written form of a rate."""
    return f"{rate_per_s:.12g}/s"


def parse_memory(value: object) -> int:
    """Bytes, from "4GiB" and the like."""
    found = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    size = int(Decimal(found[1]) * _MEMORY_UNITS[found[2]]) if found else 0
    if not 0 < size <= _MOST_BYTES:
        raise ValueError(MEMORY_FORM)
    return size


def parse_version(value: object) -> str:
    """A version of a model, as Triton numbers them."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _VERSION.fullmatch(text):
        raise ValueError(VERSION_FORM)
    return text


def parse_name(value: object) -> str:
    """A name of ours: it stands in URLs, metric labels and keys such as "model@server"."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(NAME_FORM)
    return value


def parse_url(value: object) -> str:
    """A URL of a server or page, without a trailing slash."""
    if not isinstance(value, str) or any(c.isspace() for c in refuse_template(value)):
        raise ValueError(URL_FORM)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(URL_FORM) from None
    odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or odd or port == 0:
        raise ValueError(URL_FORM)
    return value.rstrip("/")


def refuse_template(text: str) -> str:
    """A text that Prometheus, Alertmanager and Grafana take as it is."""
    if "{{" in text or "}}" in text:
        raise ValueError(TEMPLATE_FORM)
    return text


def parse_price(value: object) -> float:
    """A price; YAML's yes/no is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(PRICE_FORM)  # noqa: TRY004 - pydantic wants ValueError
    try:
        price = float(value)
    except (ValueError, OverflowError):
        raise ValueError(PRICE_FORM) from None
    if not 0 <= price < math.inf:
        raise ValueError(PRICE_FORM)
    return price


def parse_currency(value: object) -> str:
    """The name of a currency: it stands in labels of metrics and in titles."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise ValueError(CURRENCY_FORM)
    return value


def parse_gpu_name(value: object) -> str:
    """The name of a GPU as NVML tells it; which there are, nobody can list."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(GPU_NAME_FORM)
    return value


def parse_grpc(value: object) -> str:
    """HOST:PORT of a gRPC endpoint."""
    match = _GRPC.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(GRPC_FORM)
    return value


def parse_store(value: object) -> str:
    """The URL of the database; a file for SQLite, since history in memory would not outlive the process."""
    if not isinstance(value, str):
        raise ValueError(STORE_FORM)  # noqa: TRY004 - pydantic wants ValueError
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(STORE_FORM) from None
    sqlite = parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and ":memory:" not in value
    postgres = parts.scheme == "postgresql+psycopg" and parts.hostname is not None and len(parts.path) > 1
    if not sqlite and not postgres:
        raise ValueError(STORE_FORM)
    return value


def parse_pattern(value: object) -> str:
    """A regular expression."""
    if not isinstance(value, str):
        raise ValueError("a regular expression in quotes, such as '5..'")  # noqa: TRY004 - pydantic wants ValueError
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"a regular expression, such as '5..' ({error})") from None
    return value


def parse_body(value: object) -> str:
    """A request body: a mapping, or its JSON text. Which of the forms it may have its server's kind says."""
    form = "a request: a mapping with 'inputs', 'prompt' or 'messages', or its JSON text"
    try:
        body = json.loads(value) if isinstance(value, str) else value
        text = json.dumps(body)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(form) from None
    if not isinstance(body, dict) or not body.keys() & {"inputs", "prompt", "messages"}:
        raise ValueError(form)
    return text


def parse_whole(value: object) -> object:
    """Keeps YAML's yes/no from passing for 1/0; pydantic does the rest."""
    if isinstance(value, bool):
        raise ValueError("a whole number")  # noqa: TRY004 - pydantic wants ValueError
    return value


def parse_names(value: object) -> object:
    """A list of names; one alone may stand without brackets."""
    return [value] if isinstance(value, str) else value


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Duration = Annotated[
    float,
    BeforeValidator(parse_any_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["100ms", "5s", "1m30s", "28d"]}),
]
WindowLength = Annotated[
    float | Period,
    BeforeValidator(parse_window),
    PlainSerializer(format_window),
    WithJsonSchema({"type": "string", "format": "window", "examples": ["28d", "month"]}),
]
Zone = Annotated[
    ZoneInfo,
    BeforeValidator(parse_zone),
    WithJsonSchema({"type": "string", "format": "time zone", "examples": ["Europe/Berlin"]}),
]
Cron = Annotated[
    str,
    BeforeValidator(parse_cron),
    WithJsonSchema({"type": "string", "format": "cron", "examples": ["0 8 * * mon-fri"]}),
]
Moment = Annotated[
    float,
    BeforeValidator(parse_moment),
    WithJsonSchema({"type": ["string", "number"], "format": "date-time", "examples": ["2026-11-20T10:00:00Z"]}),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share),
    WithJsonSchema({"type": ["string", "number"], "format": "share", "examples": ["99%", 0.99]}),
]
Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    PlainSerializer(format_rate),
    WithJsonSchema({"type": "string", "format": "rate", "examples": ["50/s", "3000/m"]}),
]
Memory = Annotated[
    int,
    BeforeValidator(parse_memory),
    WithJsonSchema({"type": "string", "format": "memory", "examples": ["512MiB", "4GiB", "80GB"]}),
]
Version = Annotated[
    str, BeforeValidator(parse_version), WithJsonSchema({"type": ["string", "integer"], "format": "version"})
]
Name = Annotated[str, BeforeValidator(parse_name), WithJsonSchema({"type": "string", "format": "name"})]
Names = Annotated[
    list[str],
    BeforeValidator(parse_names),
    WithJsonSchema({"type": ["array", "string"], "items": {"type": "string"}, "format": "list of names"}),
]
Url = Annotated[str, BeforeValidator(parse_url), WithJsonSchema({"type": "string", "format": "url"})]
Plain = Annotated[str, AfterValidator(refuse_template)]
Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), BeforeValidator(parse_price)]
Currency = Annotated[str, Field(min_length=1, max_length=8), BeforeValidator(parse_currency)]
GpuName = Annotated[str, BeforeValidator(parse_gpu_name)]
Grpc = Annotated[str, BeforeValidator(parse_grpc), WithJsonSchema({"type": "string", "format": "host:port"})]
StoreUrl = Annotated[str, BeforeValidator(parse_store), WithJsonSchema({"type": "string", "format": "database url"})]
Pattern = Annotated[
    str, BeforeValidator(parse_pattern), WithJsonSchema({"type": "string", "format": "regular expression"})
]
Body = Annotated[
    str, BeforeValidator(parse_body), WithJsonSchema({"type": ["string", "object"], "format": "inference request"})
]
Whole = Annotated[int, BeforeValidator(parse_whole)]
