"""The query for series of targets with the moments of their scrapes, and its answer, target by target."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.collect.exposition import Labels, Page
from controlplane.collect.prometheus.api import Answer

NAME = "__name__"
_UP = "up"
_JOB, _INSTANCE = "job", "instance"
"""Labels that Prometheus gives to every target, and that tell its targets apart."""
MARK = "controlplane"
"""A label of ours, on what tells whether and when a target was scraped."""
_SCRAPED_AT = "scraped_at"
_EXPORTED = "exported_"
_VALUES_NAMED = 32
"""Labels of more different values than this are not named in a query: it would be long, and Prometheus slow."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The series wanted of the targets that have all of these labels, for `name`.

    `where`: of these series only those whose labels match, each regular expression as a whole. `kept`: labels by which
    a reader tells the series apart.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    series: frozenset[str]
    where: tuple[tuple[str, str], ...] = ()
    kept: frozenset[str] = frozenset()


@dataclass(slots=True)
class Scrape:
    """The newest scrape of one target. More than one of `ups` (labels, value): Prometheus has the target twice.

    Samples have the labels that they have on the target's page.
    """

    ups: list[tuple[Labels, float]] = field(default_factory=list)
    scraped_at: float | None = None
    samples: Page = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The scrapes by name and target, and what else an Answer says."""

    scrapes: Mapping[str, Mapping[str, Scrape]]
    at: float | None
    warnings: tuple[str, ...]


def series_query(several: Sequence[Wanted]) -> str:
    """PromQL for the series that all of these want, and for `up` and the scrape time of their targets."""
    values: dict[str, set[str]] = {}
    all_labels = [dict(wanted.labels) for wanted in several]
    for label in set.intersection(*(set(labels) for labels in all_labels)):
        values[label] = {labels[label] for labels in all_labels}
    common = [_matcher(label, found) for label, found in sorted(values.items()) if len(found) <= _VALUES_NAMED]
    series = [_matcher(NAME, several[0].series), *common]
    series += [f"{label}=~{_quoted(pattern)}" for label, pattern in several[0].where]
    up = f"{_UP}{{{','.join(common)}}}"
    # Labels of ours, since `or` passes over what has the labels of something before, whatever the name of the metric.
    return f"{{{','.join(series)}}} or {marked(up, _UP)} or {marked(f'timestamp({up})', _SCRAPED_AT)}"


def selector(wanted: Wanted) -> str:
    """PromQL that selects the series which one wants of its targets."""
    matchers = [_matcher(NAME, wanted.series), *(_matcher(label, (text,)) for label, text in wanted.labels)]
    return f"{{{','.join([*matchers, *(f'{label}=~{_quoted(pattern)}' for label, pattern in wanted.where)])}}}"


def up_selector(wanted: Wanted) -> str:
    """PromQL that selects whether the scrapes of its targets succeeded."""
    return f"{_UP}{{{','.join(_matcher(label, (text,)) for label, text in wanted.labels)}}}"


def up_where(where: Sequence[tuple[str, str]]) -> str:
    """PromQL that selects whether the scrapes of targets succeeded whose labels match regular expressions."""
    return f"{_UP}{{{','.join(f'{label}=~{_quoted(pattern)}' for label, pattern in where)}}}"


def target_of(labels: Labels) -> str:
    """Names the target of a series."""
    return f"{labels.get(_JOB, '')} {labels.get(_INSTANCE, '')}"


def by_target(several: Sequence[Wanted], answer: Answer) -> Found:
    """The samples of an answer to `series_query`, by name and target."""
    index: dict[tuple[str, ...], dict[tuple[str | None, ...], list[str]]] = {}
    for wanted in several:
        names, texts = zip(*sorted(wanted.labels), strict=True)
        index.setdefault(names, {}).setdefault(texts, []).append(wanted.name)
    rows: dict[str, dict[tuple[str, str], list[tuple[Labels, float]]]] = {wanted.name: {} for wanted in several}
    for sample in answer.samples:
        get = sample[0].get
        target = (get(_JOB, ""), get(_INSTANCE, ""))
        for names, matching in index.items():
            for name in matching.get(tuple(map(get, names)), ()):
                rows[name].setdefault(target, []).append(sample)
    found = {
        wanted.name: {" ".join(target): _scrape(own, wanted.kept) for target, own in rows[wanted.name].items()}
        for wanted in several
    }
    # what has no `up` is of no target: series of others that a target hands on
    scrapes = {name: {key: scrape for key, scrape in own.items() if scrape.ups} for name, own in found.items()}
    return Found(scrapes, answer.at, answer.warnings)


def _scrape(rows: Iterable[tuple[Labels, float]], kept: frozenset[str]) -> Scrape:
    """What the rows of one target say."""
    scrape = Scrape()
    samples: dict[str, list[tuple[Labels, float]]] = {}
    for sample in rows:
        mark = sample[0].get(MARK)
        if mark is None:
            samples.setdefault(sample[0].get(NAME, ""), []).append(sample)
        elif mark == _UP:
            labels = {name: text for name, text in sample[0].items() if name not in {MARK, NAME}}
            scrape.ups.append((labels, sample[1]))
        else:
            scrape.scraped_at = sample[1]
    if len(scrape.ups) == 1:
        scrape.samples = as_scraped(samples, scrape.ups[0][0], kept)
    return scrape


def as_scraped(samples: Page, target: Labels, kept: frozenset[str]) -> Page:
    """Samples with the labels that they have on the target's page.

    Prometheus adds the labels of the target. Where the page has a label of the same name, that one becomes `exported_`
    of it, or stays with `honor_labels`: those in `kept` are left in place therefore.
    """
    added = [(name, text) for name, text in target.items() if name not in kept]
    renamed = {f"{_EXPORTED}{name}": name for name in target}
    exported = renamed.keys()

    def own(labels: Labels) -> Labels:
        mine = dict(labels)
        mine.pop(NAME, None)
        for name, text in added:
            if mine.get(name) == text:
                del mine[name]
        if not exported.isdisjoint(labels):
            for name in labels.keys() & exported:
                mine[renamed[name]] = mine.pop(name)
        return mine

    return {metric: [(own(labels), value) for labels, value in found] for metric, found in samples.items()}


def shown(labels: Mapping[str, str]) -> str:
    """Labels as PromQL writes them."""
    return "{" + ", ".join(f"{name}={_quoted(text)}" for name, text in sorted(labels.items()) if name != NAME) + "}"


def marked(promql: str, mark: str) -> str:
    """PromQL for the same vector with a mark of ours on each series."""
    return f'label_replace({promql}, "{MARK}", "{mark}", "{MARK}", ".*")'


def _matcher(label: str, values: Iterable[str]) -> str:
    several = sorted(values)
    if len(several) == 1:
        return f"{label}={_quoted(several[0])}"
    return f"{label}=~{_quoted('|'.join(map(re.escape, several)))}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
