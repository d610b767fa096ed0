"""The console's own files. They hold no data and are open without a token; what they show they ask of the API."""

from __future__ import annotations

from functools import cache
from importlib import resources
from types import MappingProxyType

from fastapi import APIRouter, HTTPException, Response

router = APIRouter(include_in_schema=False)

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""By trusted types the browser refuses to make markup of text, whoever's it is."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # after an upgrade no old module meets a new one
}


@cache
def files() -> MappingProxyType[str, bytes]:
    """Every file of the page by its name."""
    folder = resources.files("controlplane.api.console") / "static"
    return MappingProxyType({file.name: file.read_bytes() for file in folder.iterdir() if _type(file.name)})


@router.get("/")
async def page() -> Response:
    """The page itself."""
    return _answer("index.html")


@router.get("/console/{name}")
async def file(name: str) -> Response:
    """A file of the page, by a name of the list; no path is looked up."""
    if name not in files():
        raise HTTPException(404, f"the console has no file {name!r}")
    return _answer(name)


def _answer(name: str) -> Response:
    return Response(files()[name], media_type=_type(name), headers=_HEADERS)


def _type(name: str) -> str | None:
    return _TYPES.get(name[name.rfind(".") :])
