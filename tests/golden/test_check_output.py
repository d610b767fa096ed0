"""What `controlplane check` says about a file with many faults, word for word.

After a wanted change: python -m tests.golden.test_check_output writes what it says now.
"""

from pathlib import Path

import pytest

from controlplane.config import load_settings
from controlplane.domain.errors import ConfigurationError

FOLDER = Path(__file__).parent / "check"
FILES = sorted(FOLDER.glob("*.yaml"))


def said(file: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, {})
    return str(caught.value).replace(str(file), file.name) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_check_tells_all_faults_at_once(file: Path) -> None:
    assert said(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for each in FILES:
        each.with_suffix(".txt").write_text(said(each), encoding="utf-8")
