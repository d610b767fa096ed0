"""The store finds its migrations where a wheel puts them, without the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from controlplane.store.schema import migrations_folder
from controlplane.store.tables import REVISION

CHECKOUT = Path(__file__).parents[2]


def test_a_store_is_made_from_the_files_of_a_wheel_alone(tmp_path: Path) -> None:
    built = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    for package in built["packages"]:
        shutil.copytree(CHECKOUT / package, site / package, ignore=ignored)
    for source, target in built["force-include"].items():
        shutil.copytree(CHECKOUT / source, site / target, ignore=ignored)
    script = (
        "import controlplane, sys; from controlplane.store import open_store, schema_revision;"
        "open_store(sys.argv[1]).close(); print(controlplane.__file__); print(schema_revision(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'store.db'}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file, revision = done.stdout.split()
    assert Path(file).is_relative_to(site)
    assert revision == REVISION


def test_the_code_expects_the_newest_migration() -> None:

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]
