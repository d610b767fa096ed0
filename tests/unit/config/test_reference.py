from pathlib import Path

import yaml

from controlplane.config import schema
from controlplane.config.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "python -m controlplane.config.reference > docs/reference/configuration.md"
    )


def test_every_key_of_every_block_is_in_the_reference() -> None:
    tree = schema()
    page = reference()
    for block in (tree, *tree["$defs"].values()):
        for key in block.get("properties", {}):
            assert f"| `{key}` |" in page


def test_the_schema_gives_defaults_in_their_written_form() -> None:
    tree = yaml.safe_load(yaml.safe_dump(schema()))
    assert tree["$defs"]["ScrapeBlock"]["properties"]["interval"]["default"] == "5s"
    assert tree["$defs"]["PolicyBlock"]["properties"]["quantile_normal"]["default"] == "90%"
    assert tree["additionalProperties"] is False
