"""What is told as the hands for MIG layouts are wired."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controlplane.config import parse_settings
from controlplane.loop.mig_wire import mig_changer
from controlplane.loop.store_thread import StoreThread
from controlplane.store import open_store
from tests.unit.config.test_mig_block import MODELS, REST


@pytest.mark.parametrize(("file", "told"), [("missing", "No such file"), (".", "Is a directory"), ("token", "")])
def test_a_token_that_cannot_be_read_is_told_at_the_start_and_is_no_refusal(
    file: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    settings = parse_settings(f"mig: {{mode: act, token_file: {tmp_path / file}, {MODELS}}}\n{REST}", {})
    store = StoreThread(open_store(f"sqlite:///{tmp_path / 'history.db'}"))
    try:
        with capture_logs() as logs:
            assert mig_changer(settings, lambda: 0.0, lambda *_: True, lambda: True, lambda: store) is not None
    finally:
        store.close()
    assert [line["log_level"] for line in logs] == (["warning"] if told else [])
    assert all(line["why"].startswith(f"mig.token_file {tmp_path / file}") and told in line["why"] for line in logs)
