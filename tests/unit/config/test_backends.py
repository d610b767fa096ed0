from pathlib import Path

from controlplane.config.backends import backends
from controlplane.config.mapping_file import parse_mapping, shipped
from controlplane.domain.fleet import ServerKind
from tests.unit.docs.pages import read

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "backends.md"


def test_the_page_of_backends_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == backends(), (
        "python -m controlplane.config.backends > docs/reference/backends.md"
    )


def test_every_kind_with_a_mapping_is_on_the_page() -> None:
    assert all(f"`kind: {kind.value}`" in backends() for kind in ServerKind if shipped(kind))


def test_the_example_of_a_mapping_has_no_fault() -> None:
    (example,) = read(PAGE).blocks("yml")
    assert parse_mapping(example, "example", "")[1] == []
