"""ErrorBudgetBurn as rules: the arithmetic of slo/alerts over what the recording rules gave.

One alert of each severity of an objective. It fires above the factors of one of its pairs of windows, it goes on while
one is near them, and it stays what it was while the newest window was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from controlplane.config.settings import Settings
from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.publish.alerting.catalogue import BY_NAME
from controlplane.publish.alerting.rules.promql import OF_OBJECTIVE, firing, increase, number, series
from controlplane.publish.alerting.rules.rule import last_decisions, rule, share
from controlplane.publish.alerting.rules.windows import Watched
from controlplane.slo.alerts import AlertPolicy
from controlplane.slo.burn import BurnFactor
from controlplane.slo.phrases import figure, length, phrase

_TEXT = BY_NAME[AlertName.ERROR_BUDGET_BURN]
_HELD = "It cannot be measured at present, and stays what it was."


def burn_rules(settings: Settings, watched: Watched, policy: AlertPolicy) -> Iterator[dict[str, Any]]:
    """The alerts of one objective."""
    by_severity: dict[Severity, list[BurnFactor]] = {}
    for pair in watched.pairs:
        by_severity.setdefault(pair.window.severity, []).append(pair)
    for severity, pairs in by_severity.items():
        yield rule(
            _TEXT,
            _expression(watched, severity, pairs, policy),
            settings.alerts,
            severity=severity,
            fixed=_labels(watched),
            description=_description(watched, severity, pairs),
        )


def _labels(watched: Watched) -> dict[str, str]:
    return {names.MODEL: watched.model, names.OBJECTIVE: watched.objective.key}


def _expression(watched: Watched, severity: Severity, pairs: Sequence[BurnFactor], policy: AlertPolicy) -> str:
    labels = _labels(watched)
    fires = firing(AlertName.ERROR_BUDGET_BURN, OF_OBJECTIVE, severity=severity.value, **labels)
    shortest_s = min(pair.window.short_s for pair in pairs)
    covered = f"{series(names.RECORDED_COVERAGE, shortest_s, **labels)} >= {number(policy.least_coverage)}"
    above = "\nor\n".join(_above(watched, pair, policy) for pair in pairs)
    near = "\nor\n".join(_near(watched, pair, policy) for pair in pairs)
    return (
        f"(\n{_indented(above)}\n  or\n  (\n{_indented(_indented(near))}\n  ) and {fires}\n)"
        f"\nand {covered}\nor\n0 * {fires}\nunless {covered}"
    )


def _burn(watched: Watched, window_s: float, recorded: str = names.RECORDED_ERRORS) -> str:
    return f"{series(recorded, window_s, **_labels(watched))} / {number(1.0 - watched.objective.target)}"


def _above(watched: Watched, pair: BurnFactor, policy: AlertPolicy) -> str:
    """Both burn rates are above the factor, and enough events speak for it.

    An increase is a whole number but for what Prometheus adds towards the ends of the window, so it is compared half an
    event lower.
    """
    window, factor = pair.window, number(pair.factor)
    bad = series(names.RECORDED_BAD, window.long_s, **_labels(watched))
    return "\n".join(
        (
            f"{_burn(watched, window.long_s)} > {factor}",
            f"and {_burn(watched, window.short_s)} > {factor}",
            f"and {bad} > {number(policy.least_bad - 0.5)}",
            f"and {_burn(watched, window.long_s, names.RECORDED_LEAST_ERRORS)} > {factor}",
        )
    )


def _near(watched: Watched, pair: BurnFactor, policy: AlertPolicy) -> str:
    """Both burn rates are not yet low enough for it to end."""
    window, enough = pair.window, number(policy.end_below * pair.factor)
    return f"{_burn(watched, window.long_s)} >= {enough}\nand {_burn(watched, window.short_s)} >= {enough}"


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}" for line in lines.splitlines())


def _description(watched: Watched, severity: Severity, pairs: Sequence[BurnFactor]) -> str:
    """What burns how fast, against what; how much budget is left, what capacity explains and what was decided last."""
    labels = _labels(watched)
    over_s = min(pair.window.long_s for pair in pairs)
    bad = f"sum({series(names.RECORDED_BAD, over_s, **labels)})"
    of_capacity = increase(names.OBJECTIVE_BAD_OF_CAPACITY, over_s, (), **labels)
    # both are extrapolated from samples, each a little otherwise
    explained = f"clamp_max({of_capacity} / ({bad} > 0), 1)"
    left = f"max({series(names.OBJECTIVE_BUDGET_LEFT, **labels)})"
    return " ".join(
        (
            f"{{{{ if gt $value 0.0 }}}}{_TEXT.description}{{{{ else }}}}{_HELD}{{{{ end }}}}",
            f"The objective: {phrase(watched.objective)}.",
            f"A {severity.value} is due at a burn rate {_due(pairs)}.",
            share(left, "Budget left: ", "."),
            share(explained, "Capacity explains ", f" of the bad events of {length(over_s)}."),
            last_decisions(watched.model),
        )
    )


def _due(pairs: Sequence[BurnFactor]) -> str:
    return " or ".join(
        f"above {figure(pair.factor)} over {length(pair.window.long_s)} and {length(pair.window.short_s)}"
        + (f" (in place of {figure(pair.workbook)}, which its target could hardly reach)" if pair.repaired else "")
        for pair in pairs
    )
