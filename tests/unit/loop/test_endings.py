from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.received import FREEZES_AS
from controlplane.loop.endings import Endings

NOW = 1_700_000_000.0
PIN = Override("o", "", OverrideKind.PIN, "ann", "sale", NOW - 7200, NOW + 1000, 3, workload="w")
FREEZE = Freeze("f", "", FreezeDirection.ALL, "bob", "incident", NOW - 7200, NOW + 600)


def said(endings: Endings, at: float, *in_force: Override | Freeze) -> list[tuple[str, str, object]]:
    with capture_logs() as logs:
        endings.note(in_force, at)
    return [(entry["event"].rpartition(" ")[2], entry["of"], entry.get("how", entry.get("left_s"))) for entry in logs]


def test_each_is_told_once_before_it_ends_and_once_when_it_has() -> None:
    endings = Endings()
    assert said(endings, NOW, PIN, FREEZE) == [("soon", "*", 600)]
    assert said(endings, NOW + 100, PIN, FREEZE) == [("soon", "w", 900)]
    assert said(endings, NOW + 115, PIN, FREEZE) == []
    assert said(endings, NOW + 200, PIN) == [("ended", "*", "withdrawn or replaced")]
    assert said(endings, NOW + 1000) == [("ended", "w", "ran out")]
    assert said(endings, NOW + 1015) == []


def test_what_is_short_or_set_by_a_rule_is_not_told_before() -> None:
    short = replace(PIN, created_at=NOW, expires_at=NOW + 900)
    by_rule = replace(FREEZE, actor=FREEZES_AS)
    assert said(Endings(), NOW + 100, short, by_rule) == []
