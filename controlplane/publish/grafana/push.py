"""Brings a Grafana to hold our folder, data source and dashboards, and nothing older of ours. Idempotent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controlplane.domain.errors import GrafanaRefusedError
from controlplane.domain.routing import GrafanaSettings
from controlplane.publish.grafana.annotations import TAG
from controlplane.publish.grafana.client import Grafana, GrafanaForbiddenError, Stored, Tree

FOLDER_UID = "controlplane"
DATASOURCE_UID = "controlplane-prometheus"
DATASOURCE_NAME = "controlplane"
UID_PREFIX = "cp-"


class Did(StrEnum):
    """What a push did to one thing; a dry run, what it would do."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    LEFT = "left"
    """Not looked after: `note` says why."""
    REFUSED = "refused"
    """`note` says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one thing: a folder, a data source or a dashboard."""

    kind: str
    uid: str
    did: Did
    note: str = ""


def push(
    grafana: Grafana, settings: GrafanaSettings, dashboards: Mapping[str, Tree], *, dry_run: bool = False
) -> Iterator[Change]:
    """Every change as it is made; by `dry_run` none is.

    What is refused for one dashboard keeps no other from being written. Raises TargetUnreachableError, and
    GrafanaRefusedError where nothing can be done at all.
    """
    yield _folder(grafana, settings.folder, dry_run=dry_run)
    yield _datasource(grafana, settings.prometheus_url, dry_run=dry_run)
    for uid, dashboard in dashboards.items():
        try:
            yield _dashboard(grafana, uid, dashboard, dry_run=dry_run)
        except GrafanaRefusedError as error:
            yield Change("dashboard", uid, Did.REFUSED, str(error))
    for uid in grafana.dashboards(TAG, FOLDER_UID):
        if uid.startswith(UID_PREFIX) and uid not in dashboards:
            try:
                yield _prune(grafana, uid, dry_run=dry_run)
            except GrafanaRefusedError as error:
                yield Change("dashboard", uid, Did.REFUSED, str(error))


def _folder(grafana: Grafana, title: str, *, dry_run: bool) -> Change:
    found = grafana.folder(FOLDER_UID)
    did = Did.CREATED if found is None else Did.UNCHANGED if found.get("title") == title else Did.UPDATED
    if not dry_run and found is None:
        grafana.create_folder(FOLDER_UID, title)
    elif not dry_run and found is not None and did is Did.UPDATED:
        grafana.rename_folder(found, title)
    return Change("folder", FOLDER_UID, did)


def _datasource(grafana: Grafana, url: str, *, dry_run: bool) -> Change:
    """Our data source; only its URL is ours to say, whatever else people set stays."""
    try:
        did, note = _write_datasource(grafana, url, dry_run=dry_run)
    except GrafanaForbiddenError:
        did, note = Did.LEFT, "the token has no rights on data sources (role Admin has)"
    except GrafanaRefusedError as error:
        did, note = Did.REFUSED, str(error)
    return Change("datasource", DATASOURCE_UID, did, note)


def _write_datasource(grafana: Grafana, url: str, *, dry_run: bool) -> tuple[Did, str]:
    found = grafana.datasource(DATASOURCE_UID)
    if found is None:
        if not dry_run:
            grafana.create_datasource(_new_datasource(url))
        return Did.CREATED, ""
    if found.get("type") != "prometheus":
        raise GrafanaRefusedError(
            f"{grafana.name}: data source {DATASOURCE_UID} is of type {grafana.shown(found['type'])}: not ours"
        )
    if found.get("url") == url:
        return Did.UNCHANGED, ""
    if found.get("readOnly"):
        return Did.LEFT, f"it is from files, with the URL {grafana.shown(found.get('url'))}"
    if not dry_run:
        grafana.update_datasource({**found, "url": url})
    return Did.UPDATED, ""


def _new_datasource(url: str) -> Tree:
    return {
        "uid": DATASOURCE_UID,
        "name": DATASOURCE_NAME,
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "isDefault": False,
        "jsonData": {"httpMethod": "POST"},
    }


def _dashboard(grafana: Grafana, uid: str, dashboard: Tree, *, dry_run: bool) -> Change:
    found = grafana.dashboard(uid)
    if found is None:
        if not dry_run:
            grafana.save_dashboard(dashboard, FOLDER_UID, None)
        return Change("dashboard", uid, Did.CREATED)
    if TAG not in (found.dashboard.get("tags") or ()):
        raise GrafanaRefusedError(f"{grafana.name}: dashboard {uid} lacks the tag {TAG}: not ours")
    if _is(found, dashboard):
        return Change("dashboard", uid, Did.UNCHANGED)
    if found.provisioned:
        raise GrafanaRefusedError(f"{grafana.name}: dashboard {uid} is from files, and those are of another version")
    if not dry_run:
        grafana.save_dashboard({**dashboard, "id": found.dashboard.get("id")}, FOLDER_UID, found.version)
    return Change("dashboard", uid, Did.UPDATED)


def _prune(grafana: Grafana, uid: str, *, dry_run: bool) -> Change:
    if not dry_run:
        grafana.delete_dashboard(uid)
    return Change("dashboard", uid, Did.DELETED)


def _is(found: Stored, dashboard: Tree) -> bool:
    """Whether Grafana holds it as it should be. Its own counts do not matter, nor what it adds: defaults of panels."""
    wanted = {name: value for name, value in dashboard.items() if name not in {"id", "version"}}
    return (found.folder_uid == FOLDER_UID or found.provisioned) and _within(wanted, found.dashboard)


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _within(value, found[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(_within, wanted, found))
    return bool(wanted == found)
