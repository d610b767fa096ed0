from __future__ import annotations

import json
import subprocess
import sys

from controlplane.cli.logs import without_secrets

PROGRAM = """
import logging, structlog
from controlplane.cli.logs import configure
configure()
log = structlog.get_logger("a.b")
log.info("said", model="bert", token="hunter2", url="postgresql+psycopg://me:hunter2@db/x")
logging.getLogger("library").warning("Authorization: Bearer hunter2")
logging.getLogger("apscheduler.scheduler").info("chatter")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("went wrong")
"""


def test_away_from_a_terminal_logs_are_json_lines_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    said, library, wrong = [json.loads(line) for line in done.stderr.splitlines()]
    assert (said["event"], said["model"], said["level"], said["logger"]) == ("said", "bert", "info", "a.b")
    assert library["logger"] == "library"
    assert "ZeroDivisionError" in wrong["exception"]
    assert "hunter2" not in done.stderr


def test_secrets_are_known_by_key_and_by_form() -> None:
    event = without_secrets(
        None,
        "info",
        {"password": "x", "api_key": "x", "event": "used cp_" + "a" * 43, "url": "http://u:pw@h/", "count": 3},
    )
    assert event == {
        "password": "***",
        "api_key": "***",
        "event": "used cp_***",
        "url": "http://u:***@h/",
        "count": 3,
    }
