"""The console's files as they are served: open, whole, and with nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from controlplane.api.app import create_app
from controlplane.api.console.routes import files
from controlplane.api.tokens import Scope, create_token
from tests.unit.api.fakes import NOW, FakePlane

SINKS = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "eval(",
    "Function(",
    "localStorage",
)


async def test_the_page_and_its_files_are_open_and_what_they_show_is_not(tmp_path: Path) -> None:
    create_token(tmp_path / "tokens", "ann", Scope.VIEWER, NOW + 3600)
    plane = FakePlane(tmp_path, extra=f"api: {{host: 0.0.0.0, tokens_file: {tmp_path / 'tokens'}}}\n")
    transport = httpx.ASGITransport(app=create_app(plane, clock=plane.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://controlplane.example") as nobody:
        for path in ("/", *(f"/console/{name}" for name in files())):
            assert (await nobody.get(path)).status_code == 200, path
        assert (await nobody.get("/api/v1/fleet")).status_code == 401
    plane.close()


async def test_a_page_of_another_name_is_refused_where_no_tokens_are_in_use(client: httpx.AsyncClient) -> None:
    assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 403


async def test_every_file_says_what_it_may_load_and_be_loaded_into(client: httpx.AsyncClient) -> None:
    for path in ("/", *(f"/console/{name}" for name in files())):
        headers = (await client.get(path)).headers
        policy = dict(rule.partition(" ")[::2] for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {policy[of] for of in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in str(policy)
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-cache")
    assert (await client.get("/console/main.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await client.get("/")).headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", ["nothing.js", "routes.py", "..%2Froutes.py", "%2e%2e/routes.py", "main.js/"])
async def test_what_is_no_file_of_the_page_is_not_there(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/console/{name}")).status_code in {307, 404}


def test_each_file_is_used_and_each_that_is_used_is_there() -> None:
    texts = {name: text.decode() for name, text in files().items()}
    used = {"index.html"} | set(re.findall(r'(?:src|href)="console/([^"]+)"', texts["index.html"]))
    for name, text in texts.items():
        if name.endswith(".js"):
            used |= set(re.findall(r'from "\./([^"]+)"', text))
    assert used == set(texts)


@pytest.mark.parametrize("name", sorted(files()))
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(name: str) -> None:
    text = files()[name].decode().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE), "no address of another origin"
    assert not [sink for sink in SINKS if sink in text]
    assert not re.search(r'(?:href|src)="/|["`]/\w', text), "a proxy may put a path before all of it"
    assert " style=" not in text
    assert not re.search(r"<script(?! type=\"module\" src=)|\son\w+=", text)
