"""How an instruction is sent and where it is told, alike for models and workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from controlplane.cli.client import Api
from controlplane.cli.output import clock_time, print_json, printable

Wait = Annotated[
    float, typer.Option("--wait", min=0, max=600, help="Seconds to wait for it to be carried out; 0: not at all.")
]


def instruct(api: Api, method: str, path: str, body: Mapping[str, object], wait_s: float, *, as_json: bool) -> None:
    """Send an instruction and tell where it is; exit code 1 when it failed."""
    operation: dict[str, Any] = api.call(method, path, query={"wait": wait_s}, body=body, patience_s=wait_s)
    if as_json:
        print_json(operation)
    else:
        override = operation["override"]
        subject = override["workload"] or override["model"]
        print(f"{subject}: {operation['status']}: {printable(operation['detail'])}")
        print(f"override {operation['id']} until {clock_time(override['expires_at'])} UTC: {override['reason']}")
    if operation["status"] == "failed":
        raise typer.Exit(1)
