"""GPUs, their MIG slices and who uses them as one table; below it what is wrong and what is not known, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import counted, duration
from controlplane.cli.tables import UNKNOWN, escape, is_narrow, new_table

View = Mapping[str, Any]

_ACTIVITY = {
    "utilisation": "busy",
    "sm_utilisation": "SMs",
    "tensor_utilisation": "tensor cores",
    "bandwidth_utilisation": "bandwidth",
}
_MEMORY = {"memory_used_bytes": "memory used", "memory_total_bytes": "memory total"}
_WORDS = {
    **_ACTIVITY,
    **_MEMORY,
    "power_w": "power",
    "temperature_c": "temperature",
    "sm_clock_mhz": "SM clock",
    "throttle_reasons": "throttled by",
    "ecc_uncorrected": "ECC errors",
    "last_xid": "last XID",
    "processes": "processes",
    "mig_enabled": "MIG",
    "mig_pending": "MIG after a reset",
    "slices": "slices",
}
_SLICE_WORDS = {"profile": "profile", **_ACTIVITY, **_MEMORY, "placement": "place"}
_COLUMNS = ("age", "busy", "SMs", "tensor", "mem bw", "mem GiB", "power", "temp", "clock", "used by")
_WIDE_ONLY = {"tensor", "clock"}


def gpus_table(gpus: View, nodes: Mapping[str, View]) -> RenderableType:
    """GPUs of all nodes and their slices, and below them what is wrong or not known, and why."""
    silent = [_line("dim", f"node {name}", f"GPUs: {up['why']}") for name, up in nodes.items() if _lacks(up)]
    if gpus["value"] is None:
        return Group(f"[bold]GPUs[/]: {UNKNOWN} [dim]{escape(gpus['why'])}[/]", *silent)
    if not gpus["value"]:
        return Group("[bold]GPUs[/]: none", *silent)
    narrow = is_narrow()
    shown = [column for column in _COLUMNS if not (narrow and column in _WIDE_ONLY)]
    table = new_table("GPUs", *(("gpu",) if narrow else ("gpu", "name")), *shown)
    table.columns[0].no_wrap = True
    for gpu in gpus["value"]:
        name = escape(gpu["name"].removeprefix("NVIDIA "))
        where = escape(_where(gpu))
        cells = {"age": _age(gpu, _WORDS), **_activity(gpu), **_of_the_whole(gpu), "used by": _used_by(gpu, "")}
        named = (f"{where}\n {name}" if name else where,) if narrow else (where, name)
        table.add_row(*named, *(cells[column] for column in shown))
        for piece in gpu["slices"]["value"] or ():
            cells = {"age": _age(piece, _SLICE_WORDS), **_activity(piece), "used by": _used_by(gpu, piece["uuid"])}
            named = (f" {_slice(piece)}", *(() if narrow else (_place(piece),)))
            table.add_row(*named, *(cells.get(column, "") for column in shown))
    return Group(table, *_troubles(gpus["value"]), *_gaps(gpus["value"]), *silent)


def _where(gpu: View) -> str:
    """What the GPU is called: the node's name and its index there."""
    return f"{gpu['node']} {gpu['index']}" if gpu["node"] else f"GPU {gpu['index']}"


def _slice(piece: View) -> str:
    return f"slice {piece['gpu_instance']} {_cell(piece['profile'], escape)}"


def _place(piece: View) -> str:
    """First memory unit and number of units."""
    return _cell(piece["placement"], lambda v: f" at {v['start']}+{v['size']}")


def _age(of: View, figures: Mapping[str, str]) -> str:
    """How long ago the newest of its figures was read."""
    ages = [of[key]["age_s"] for key in figures if of[key]["age_s"] is not None]
    if not ages:
        return UNKNOWN
    age = " ".join(duration(min(ages)).split()[:2])  # the larger unit is enough
    return f"[yellow]{age}[/]" if all(_lacks(of[key]) for key in figures) else age


def _activity(of: View) -> dict[str, str]:
    shares = {
        word: _cell(of[key], lambda v: f"{v:.0%}")
        for key, word in zip(_ACTIVITY, ("busy", "SMs", "tensor", "mem bw"), strict=True)
    }
    memory = "/".join(_cell(of[key], lambda v: f"{v / 2**30:.1f}") for key in _MEMORY)
    return {**shares, "mem GiB": memory if any(of[key]["value"] is not None for key in _MEMORY) else UNKNOWN}


def _of_the_whole(gpu: View) -> dict[str, str]:
    return {
        "power": _cell(gpu["power_w"], lambda v: f"{v:.0f} W"),
        "temp": _cell(gpu["temperature_c"], lambda v: f"{v} °C"),
        "clock": _cell(gpu["sm_clock_mhz"], lambda v: f"{v} MHz"),
    }


def _used_by(gpu: View, piece: str) -> str:
    """Servers, each with the number of its processes; a cut GPU is used by slice."""
    if gpu["processes"]["value"] is None:
        return UNKNOWN
    if not piece and gpu["slices"]["value"]:
        return ""
    users = Counter(p["server"]["value"] or "" for p in gpu["processes"]["value"] if p["slice"] == piece)
    others = users.pop("", 0)
    named = [escape(f"{server} ({number})" if number > 1 else server) for server, number in users.items()]
    return ", ".join([*named, *([counted(others, "other")] if others else [])]) or "nobody"


def _cell(view: View, form: Callable[[Any], str]) -> str:
    """The value, coloured when it is old; why it is missing or old stands below the table."""
    match view["state"]:
        case "known":
            return form(view["value"])
        case "stale":
            return f"[yellow]{form(view['value'])}[/]"
        case _:
            return UNKNOWN


def _troubles(gpus: Sequence[View]) -> Iterator[str]:
    """A line for each GPU that is held down, made errors, or is cut into nothing."""
    for gpu in gpus:
        reasons, errors, xid = (gpu[key]["value"] for key in ("throttle_reasons", "ecc_uncorrected", "last_xid"))
        found = [f"throttled by {', '.join(reasons)}"] if reasons else []
        found += [f"{counted(errors, 'uncorrected ECC error')}"] if errors else []
        found += [f"last XID error {xid}"] if xid else []
        found += (
            ["MIG is on, and there is no slice"] if gpu["mig_enabled"]["value"] and gpu["slices"]["value"] == [] else []
        )
        mode, pending = gpu["mig_enabled"]["value"], gpu["mig_pending"]["value"]
        if None not in {mode, pending} and mode != pending:
            found.append(f"MIG is {'on' if pending else 'off'} from its next reset on")
        if found:
            yield _line("red", _where(gpu), "; ".join(found))


def _gaps(gpus: Sequence[View]) -> Iterator[str]:
    """What is not known and why, a line for all GPUs, slices and processes that lack the same."""
    alike: dict[str, list[str]] = {}
    for what, views in _parts(gpus):
        whys: dict[str, list[str]] = {}
        for word, view in views.items():
            if _lacks(view):
                whys.setdefault(view["why"], []).append(word)
        if whys:
            alike.setdefault(_reasons(whys, of=len(views)), []).append(what)
    for parts, where in alike.items():
        yield _line("dim", ", ".join(where), parts)


def _reasons(whys: Mapping[str, Sequence[str]], of: int) -> str:
    """What lacks for which reason; where all `of` figures lack, those of the commonest reason are not listed."""
    least = sorted(whys.items(), key=lambda reason: len(reason[1]))
    parts = [f"{', '.join(words)}: {why}" for why, words in least]
    if of > 1 and sum(map(len, whys.values())) == of:
        parts[-1] = f"everything{' else' if len(parts) > 1 else ''}: {least[-1][0]}"
    return "; ".join(parts)


def _parts(gpus: Sequence[View]) -> Iterator[tuple[str, Mapping[str, View]]]:
    for gpu in gpus:
        where = _where(gpu)
        yield where, {word: gpu[key] for key, word in _WORDS.items()}
        if _lacks(gpu["slices"]) or _lacks(gpu["processes"]):
            continue  # said of the whole already
        for piece in gpu["slices"]["value"]:
            yield f"{where} slice {piece['gpu_instance']}", {word: piece[key] for key, word in _SLICE_WORDS.items()}
        for process in gpu["processes"]["value"]:
            yield f"{where} process {process['pid']}", {"server": process["server"]}


def _lacks(view: View) -> bool:
    return bool(view["state"] != "known")


def _line(style: str, what: str, text: str) -> str:
    return f"[{style}]{escape(f'{what}: {text}')}[/]"
