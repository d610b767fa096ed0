"""The API's routes as one plain page. It loads nothing from anywhere: a foreign script here could give instructions."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color-scheme:light dark}code{font-weight:600}td{padding:.2rem .8rem .2rem 0;vertical-align:top}"
)


def docs_page(document: Mapping[str, Any]) -> str:
    """HTML that lists every operation of an OpenAPI document, by tag."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            row = f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
            row += f"<td>{escape(operation.get('summary', ''))}</td></tr>"
            by_tag.setdefault((operation.get("tags") or ["other"])[0], []).append(row)
    info = document.get("info", {})
    parts = [f"<h2>{escape(tag)}</h2><table>{''.join(rows)}</table>" for tag, rows in by_tag.items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info.get('title', ''))}</title><style>{_STYLE}</style>"
        f"<h1>{escape(info.get('title', ''))} {escape(info.get('version', ''))}</h1>"
        f"<p>{escape(info.get('summary', ''))}. "
        '<a href="/openapi.json">OpenAPI document</a> · <a href="/metrics">metrics</a></p>'
        f"{''.join(parts)}</html>"
    )
