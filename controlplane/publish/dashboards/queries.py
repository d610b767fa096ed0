"""PromQL over the product's own series, from the names and labels that the code exports.

Every series is merged over replicas first: two control planes export the same things, told apart by `instance` alone,
and a sum over both would count everything twice. So each is `max by` all labels of its own, and sums are of that.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.domain import names
from controlplane.publish.metrics.families import FAMILIES

JOB = "job"
INSTANCE = "instance"
RATE_INTERVAL = "$__rate_interval"
RANGE = "$__range"
INTERVAL = "$__interval"

_KINDS = {family.name: family.kind for family in FAMILIES} | {names.ACTIONS: "counter"}
_LABELS = {family.name: family.labels for family in FAMILIES} | {names.ACTIONS: (names.STEP, names.STATUS)}
"""With what MeteredActuator exports beside the families."""


_PARTLY = frozenset(
    {
        names.CONDITION,
        names.OVERRIDES_ACTIVE,
        names.OVERRIDE_EXPIRES,
        names.FREEZES_ACTIVE,
        names.FREEZE_EXPIRES,
    }
)
"""Labels of these that do not apply are empty, and the series is shown whatever is chosen there."""


class Match(NamedTuple):
    """A matcher of one label."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


def is_(label: str, value: str) -> Match:
    """The label has this value."""
    return Match(label, "=", value)


def is_not(label: str, value: str) -> Match:
    """The label has another value, or there is none."""
    return Match(label, "!=", value)


def like(label: str, pattern: str) -> Match:
    """The label's whole value matches."""
    return Match(label, "=~", pattern)


def selector(series: str, *matches: Match) -> str:
    """Series of this name with these labels."""
    return f"{series}{{{', '.join(map(str, matches))}}}"


class Own:
    """Our own series, filtered by the labels for which a dashboard has a variable of the same name.

    `replicas`: keep replicas apart, for what is about them.
    """

    def __init__(self, *variables: str, replicas: bool = False) -> None:
        self._variables = variables
        self._apart = (INSTANCE,) if replicas else ()

    def now(self, name: str, *where: Match) -> str:
        """The value of a gauge. A matcher in `where` stands in for that of the label's variable."""
        return self._merged(name, self._selected(name, where))

    def rate(self, name: str, *where: Match) -> str:
        """How fast a counter grows, per second."""
        return self._merged(name, f"rate({self._selected(name, where)}[{RATE_INTERVAL}])")

    def grown(self, name: str, *where: Match) -> str:
        """By how much a counter grew in the time that the dashboard shows.

        Merged before it is asked how much: a replica that came after another goes on from there, with a reset.
        """
        return f"increase({self._merged(name, self._selected(name, where))}[{RANGE}:{INTERVAL}])"

    def grown_lately(self, name: str, *where: Match) -> str:
        """By how much a counter grew over the last few scrapes, to be drawn as bars."""
        return self._merged(name, f"increase({self._selected(name, where)}[{RATE_INTERVAL}])")

    def _merged(self, name: str, inner: str) -> str:
        labels = (*_LABELS[name], *self._apart)
        return f"max by ({', '.join(labels)}) ({inner})" if labels else f"max({inner})"

    def _selected(self, name: str, where: tuple[Match, ...]) -> str:
        told = {match.label for match in where}
        labels = [label for label in _LABELS[name] if label in self._variables and label not in told]
        none = "|" if name in _PARTLY else ""
        filters = [
            like(JOB, f"${JOB}"),
            *(like(label, f"${label}{none}") for label in labels),
            *(like(label, f"${label}") for label in self._apart),
        ]
        suffix = "_total" if _KINDS[name] == "counter" else ""
        return selector(f"{name}{suffix}", *filters, *where)


def total(inner: str, *by: str) -> str:
    """The sum, by labels."""
    return _folded("sum", inner, by)


def largest(inner: str, *by: str) -> str:
    """The largest, by labels."""
    return _folded("max", inner, by)


def least(inner: str, *by: str) -> str:
    """The least, by labels."""
    return _folded("min", inner, by)


def share(part: str, whole: str) -> str:
    """The quotient, and nothing where there is nothing to divide by: no traffic is neither 0 % nor 100 %."""
    return f"{part} / ({whole} > 0)"


def both(series: str, told: str) -> str:
    """Those of `series` for which `told` has one of the same labels: what is not known is left out of a whole."""
    return f"{series} and {told}"


def quantile_of(quantile: float, buckets: str, *by: str) -> str:
    """A quantile of a classic histogram's rates, summed before: quantiles themselves are never averaged."""
    return f"histogram_quantile({quantile:g}, {total(buckets, 'le', *by)})"


def _folded(how: str, inner: str, by: tuple[str, ...]) -> str:
    if by and inner.startswith(f"max by ({', '.join(by)}) ("):
        # told apart by these labels already: folding again would change nothing
        return inner
    return f"{how} by ({', '.join(by)}) ({inner})" if by else f"{how}({inner})"
