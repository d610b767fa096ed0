"""controlplane profile: how fast a model is, measured on a real server or read from what a benchmark exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from controlplane.cli.options import Json
from controlplane.cli.output import print_json
from controlplane.cli.progress import progress
from controlplane.domain.errors import ConfigurationError, Fault, ProfileError

if TYPE_CHECKING:
    from controlplane.domain.fleet import ServerKind
    from controlplane.domain.profiles import Profile
    from controlplane.profiling.measure import Measured, MeasuredStep, Wanted

_MEASURE = "measure"


class _UrlGroup(TyperGroup):
    """A group of commands in which `profile URL` stands for `profile measure URL`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class."""
        if args and args[0] not in (*self.commands, "--help"):
            args = [_MEASURE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_UrlGroup, help="How fast models are, as a place to begin from.", rich_markup_mode=None)

_Out = Annotated[Path | None, typer.Option("--out", help="Write the profile to this file; left out: only show it.")]


@app.command(_MEASURE)
def measure(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's HTTP address.")],
    *,
    model: Annotated[str, typer.Option("--model", help="Its name on the server.")],
    kind: Annotated[str, typer.Option("--kind", help="triton, or vllm for all with streamed completions.")] = "triton",
    out: _Out = None,
    max_concurrency: Annotated[int, typer.Option("--max-concurrency", help="Most requests in flight.")] = 256,
    seconds_per_point: Annotated[float, typer.Option("--seconds-per-point", help="How long each load lasts.")] = 5.0,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", help="Of each request; kind vllm.")] = 512,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Of each answer; kind vllm.")] = 64,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File that holds a bearer token for the server.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Drive a real server up its curve, with 1, 2, 4 and so on requests in flight, and fit what it did.

    `controlplane profile URL` is the same. It loads the server as fully as it goes: keep users away meanwhile.
    """
    import asyncio

    from controlplane.loop.clock import wall_clock
    from controlplane.profiling import measure as measuring

    _check_out(out)
    for option, number, least in (
        ("--max-concurrency", max_concurrency, 2),
        ("--seconds-per-point", seconds_per_point, 0.1),
        ("--prompt-tokens", prompt_tokens, 1),
        ("--output-tokens", output_tokens, 2),
    ):
        if not least <= number < float("inf"):
            raise _fault(option, f"{number:g}", f"at least {least:g} is allowed")
    wanted = measuring.Wanted(
        _url(url),
        model,
        _kind(kind),
        max_concurrency,
        seconds_per_point,
        prompt_tokens,
        output_tokens,
        _token(token_file),
    )
    steps: list[MeasuredStep] = []
    try:
        measured = asyncio.run(_measure(wanted, wall_clock(), steps))
    except ProfileError:
        if steps and not as_json:
            _show_curve(steps)  # it tells more than why there is no line through it
        raise
    _write(out, measured.profile)
    if as_json:
        told = [_step_document(step) for step in steps]
        print_json({**_document(measured.profile, out), "steps": told, "ended": measured.ended})
    else:
        _show_curve(steps, measured.ended)
        _show_profile(measured.profile, out)


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="CSV exports of one tool: perf_analyzer, Model Analyzer and so on."),
    ],
    *,
    out: _Out = None,
    max_batch: Annotated[int | None, typer.Option("--max-batch", help="Largest batch, where FILE has none.")] = None,
    instances: Annotated[int | None, typer.Option("--instances", help="Instances; left out: FILE's, or 1.")] = None,
    items: Annotated[int, typer.Option("--items", help="Items of a request: the -b of perf_analyzer.")] = 1,
    model: Annotated[str, typer.Option("--model", help="One of several models in FILE.")] = "",
    variant: Annotated[str, typer.Option("--variant", help="One of several Model Config Paths in FILE.")] = "",
    as_json: Json = False,
) -> None:
    """Make a profile of CSV exports of perf_analyzer, Model Analyzer, genai-perf or AIPerf.

    An export of genai-perf or AIPerf tells of one load, so that several are needed.
    """
    from controlplane.config.text_file import UnreadableError, read_text_file
    from controlplane.profiling.imports import Untold, import_profile

    _check_out(out)
    for option, number in (("--max-batch", max_batch), ("--instances", instances), ("--items", items)):
        if number is not None and number < 1:
            raise _fault(option, str(number), "at least 1 is allowed")
    texts = {}
    for file in files:
        try:
            texts[str(file)] = read_text_file(file)
        except UnreadableError as error:
            raise _fault("FILE", str(file), f"{error.allowed} is allowed") from None
    measured_at = max(file.stat().st_mtime for file in files)
    profile = import_profile(texts, Untold(items, max_batch, instances, model, variant), measured_at)
    _write(out, profile)
    if as_json:
        print_json(_document(profile, out))
    else:
        _show_profile(profile, out)


async def _measure(wanted: Wanted, now: float, steps: list[MeasuredStep]) -> Measured:
    """Measure with a bar; each step is added to `steps` when it is done."""
    from controlplane.profiling.climb import concurrencies
    from controlplane.profiling.measure import measure

    with progress() as bar:
        most = len(list(concurrencies(wanted.most)))
        task = bar.add_task(f"measuring {wanted.model} with 1 request in flight", total=most)

        def told(step: MeasuredStep) -> None:
            steps.append(step)
            text = f"measuring {wanted.model} with {2 * step.concurrency} requests in flight"
            bar.update(task, advance=1, description=text)

        return await measure(wanted, now, told)


def _show_curve(steps: Sequence[MeasuredStep], ended: str = "") -> None:
    from controlplane.cli.profile_tables import curve_table
    from controlplane.cli.tables import escape, show

    show(curve_table(steps), *([f"ended: {escape(ended)}"] if ended else []))


def _show_profile(profile: Profile, out: Path | None) -> None:
    from controlplane.cli.profile_tables import fit_lines
    from controlplane.cli.tables import escape, show

    show(*map(escape, fit_lines(profile)))
    show(f"written to {escape(str(out))}" if out is not None else "not written: --out names a file")


def _document(profile: Profile, out: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    from controlplane.config.profile_file import kind_of

    return {"profile": {"kind": kind_of(profile), **asdict(profile)}, "out": str(out) if out else None}


def _step_document(step: MeasuredStep) -> dict[str, Any]:
    from dataclasses import asdict

    points = [asdict(point) for point in step.points]
    return {"concurrency": step.concurrency, "per_s": step.per_s, "latency_s": step.latency_s, "points": points}


def _write(out: Path | None, profile: Profile) -> None:
    from controlplane.cli.files import write_all
    from controlplane.config.profile_file import write_profile

    if out is not None:
        write_all({out: write_profile(profile)})


def _check_out(out: Path | None) -> None:
    """Before minutes of work, not after them."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise _fault("--out", str(out), "a file in a folder that is there is allowed")


def _url(text: str) -> str:
    from controlplane.config.units import parse_url

    try:
        return parse_url(text)
    except ValueError as error:
        raise _fault("URL", text, f"{error} is allowed") from None


def _kind(text: str) -> ServerKind:
    from controlplane.domain.fleet import ServerKind

    if text not in (ServerKind.TRITON, ServerKind.VLLM):
        raise _fault("--kind", text, "triton or vllm is allowed")
    return ServerKind(text)


def _token(file: Path | None) -> str:
    from controlplane.collect.token_file import read_token

    if file is None:
        return ""
    try:
        return read_token(str(file))
    except ValueError as error:
        raise _fault("--token-file", str(file), str(error)) from None


def _fault(option: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("command line", (Fault(option, value, allowed),))
