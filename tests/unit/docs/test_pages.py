from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from controlplane.cli.main import app
from controlplane.config import parse_settings, schema
from controlplane.publish.metrics.families import AGENT_FAMILIES, FAMILIES
from tests.unit.api.test_access import ROUTES
from tests.unit.docs.pages import PAGES, ROOT, Page, read

TRITON = {
    "name": "triton-0",
    "kind": "triton",
    "http": "http://127.0.0.1:8000",
    "grpc": "127.0.0.1:8001",
    "metrics": "http://127.0.0.1:8002/metrics",
}
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")

of_every_page = pytest.mark.parametrize("page", PAGES, ids=str)


def test_the_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "docs/how-to/install.md"} <= {str(page) for page in PAGES}


@of_every_page
def test_every_link_resolves(page: Page) -> None:
    for link in page.links():
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in read(path).anchors(), link


def test_every_page_is_reached_from_the_index_or_the_readme() -> None:
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        if str(page) in {"README.md", "docs/index.md", "docs/how-to/service.md", "docs/reference/alerts.md"}
        for link in page.links()
    }
    assert {str(page) for page in PAGES if page.path not in linked} <= {"README.md"}


@of_every_page
def test_every_yaml_block_passes_the_check(page: Page, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    for block in page.blocks("yaml"):
        tree = yaml.safe_load(block)
        tree.setdefault("servers", [TRITON])
        if "store_password_file" in tree:
            tree["store_password_file"] = str(secret)
        parse_settings(yaml.safe_dump(tree), {}, source=f"{page}: {block}")


@of_every_page
def test_every_command_and_option_named_exists(page: Page) -> None:
    for line in page.code():
        words = line.split()
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words[:1] == ["make"]:
            targets = [word for word in words[1:2] if word != "x"]
            assert all(re.search(rf"^{target}:", makefile(), re.MULTILINE) for target in targets), line
        found = re.search(r"(?:^|/bin/|\s)controlplane(?: ([a-z].*))?$", " ".join(words))
        if found and found[1] and not found[1].startswith("controlplane"):
            assert_command(found[1].split(), line)


def assert_command(words: list[str], line: str) -> None:
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        if words[0].isupper() or words[0] == "COMMAND":
            return
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in getattr(command, "params", ()) for name in parameter.opts} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= options, line


def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


@of_every_page
def test_every_metric_named_exists(page: Page) -> None:
    exported = {family.name + ("_total" if family.kind == "counter" else "") for family in (*FAMILIES, *AGENT_FAMILIES)}
    # histograms and counters that the actuators' own metrics bring
    exported |= set(re.findall(r"`(controlplane_\w+)`", (ROOT / "docs/reference/metrics.md").read_text()))
    for name in re.findall(r"`(controlplane_[a-z_]+)[`{]", page.text):
        assert name in exported, name


@of_every_page
def test_every_route_named_exists(page: Page) -> None:
    served = [(method, re.compile(re.sub(r"\{\w+\}", r"[^/?]+", path))) for method, path, _, _ in ROUTES]
    for method, path in re.findall(r"\b(GET|POST|PUT|DELETE) (/(?:api/v1|healthz|readyz|metrics)[^\s`?]*)", page.text):
        assert any(verb == method and known.fullmatch(path.rstrip(".,")) for verb, known in served), f"{method} {path}"
    for path in re.findall(r"https?://[^\s/]+(/api/v1/[^\s'?`]+)", page.text):
        assert any(known.fullmatch(path) for _, known in served), path


@of_every_page
def test_every_configuration_key_named_exists(page: Page) -> None:
    definitions = schema()["$defs"]
    blocks = {
        key: definitions[field["$ref"].rpartition("/")[2]]["properties"]
        for properties in (schema()["properties"], *(d.get("properties", {}) for d in definitions.values()))
        for key, field in properties.items()
        if "$ref" in field and "properties" in definitions[field["$ref"].rpartition("/")[2]]
    }
    assert {"scrape", "policy", "instances"} <= set(blocks)
    for block, key in re.findall(r"`(\w+)\.(\w+)`", page.prose):
        if block in blocks:
            assert key in blocks[block], f"{block}.{key}"


@of_every_page
def test_every_file_and_test_named_exists(page: Page) -> None:
    for span in page.spans():
        if test := re.fullmatch(r"(test_\w+\.py)::(\w+)", span):
            assert f"def {test[2]}(" in (ROOT / "tests/integration" / test[1]).read_text(encoding="utf-8"), span
        elif re.fullmatch(r"(controlplane|tests|deploy|docs|scripts|migrations|loop)/[\w./-]*", span):
            assert any((base / span).exists() for base in (ROOT, ROOT / "controlplane")), span


def test_the_readme_is_short_and_its_picture_small() -> None:
    readme = read(ROOT / "README.md")
    assert len(readme.text.splitlines()) < 90
    for link in readme.links():
        if link.startswith("docs/img/"):
            assert (ROOT / link).stat().st_size < 300_000
