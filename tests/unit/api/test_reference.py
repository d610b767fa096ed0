from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import httpx

from controlplane.api.problems import _STATUS
from tests.unit.api.test_access import ROUTES

PAGE = (Path(__file__).parents[3] / "docs/reference/api.md").read_text(encoding="utf-8")


async def test_the_reference_lists_every_route_with_its_scope_and_summary(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    scopes = {(method, path): scope.value if scope else "none" for method, path, _, scope in ROUTES}
    served = [
        (method, path, scopes[method, path], paths[path][method.lower()]["summary"]) for method, path, _, _ in ROUTES
    ]
    assert rows == served


def test_the_reference_lists_the_problems_of_our_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| `urn:controlplane:problem:([\w-]+)`", PAGE, re.MULTILINE)
    assert {(str(status), kind) for _, status, kind in _STATUS} <= set(rows)


async def test_openapi_says_tags_summaries_errors_and_examples(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["version"] == version("inference-controlplane")
    tags = {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert set(operation["tags"]) <= tags, path
            if path.startswith("/api/"):
                assert operation["security"] == [{"HTTPBearer": []}], path
                refused = operation["responses"]["401"]["content"]["application/problem+json"]
                assert refused["schema"] == {"$ref": "#/components/schemas/Problem"}, path
                assert "HTTPValidationError" not in str(operation["responses"]["422"])
    assert document["components"]["schemas"]["Problem"]["properties"]["detail"]["examples"]
    ttl = document["components"]["schemas"]["ModelBody"]["properties"]["ttl"]
    assert ttl["examples"] == ["2h", 7200]
    references = set(re.findall(r"#/components/schemas/([\w.-]+)", str(document)))
    assert references <= set(document["components"]["schemas"]), "every reference can be followed"
