"""A Grafana by its HTTP API, through grafana-client.

https://grafana.com/docs/grafana/latest/developers/http_api/ (Grafana 9 and later)
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import niquests
from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaServerError, GrafanaTimeoutError
from niquests.auth import AuthBase

from controlplane.domain.errors import UNRESOLVED, GrafanaRefusedError, TargetUnreachableError
from controlplane.domain.routing import GrafanaSettings
from controlplane.publish.grafana.annotations import Annotation
from controlplane.publish.grafana.within import Within

T = TypeVar("T")
Tree: TypeAlias = dict[str, Any]
_SHOWN = 200
_CREDENTIALS = re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE)
_LATER = {408, 429}
"""Refused for now: it took too long, or too much was asked of it."""
_MOST = 5000
"""As many dashboards Grafana tells of in one answer, at most."""


class GrafanaForbiddenError(GrafanaRefusedError):
    """The token's role does not allow it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A dashboard as Grafana keeps it, with its version; `provisioned`: from files, and written by nobody else."""

    dashboard: Tree
    folder_uid: str
    provisioned: bool

    @property
    def version(self) -> int:
        """How often it was written."""
        return int(self.dashboard.get("version", 0))


class Grafana:
    """One Grafana. All calls block, each request for `timeout_s` seconds at most.

    They raise TargetUnreachableError (no answer, failing: later may help) and GrafanaRefusedError. The token is read
    anew for each call by `read_token`, which raises ValueError where its file holds none; no message holds it, also
    where Grafana or what stands before it says it.
    """

    def __init__(self, settings: GrafanaSettings, read_token: Callable[[str], str], *, timeout_s: float = 10.0) -> None:
        self.name = f"Grafana {settings.url}"
        self._settings = settings
        self._timeout_s = timeout_s
        self._within = Within("grafana-request", timeout_s)
        self._bearer = _Bearer(self.name, str(settings.token_file), read_token)
        self._api = GrafanaApi(self._bearer, timeout=timeout_s)
        # put together by the library, it lacks the slash behind a path and the brackets of IPv6
        self._api.client.url = f"{settings.url}/api"
        self._api.client.s.max_redirects = 0  # a token goes to nobody else

    def close(self) -> None:
        """Let go of the connection."""
        self._api.client.s.close()

    def version(self) -> str:
        """Which Grafana it is; tells a wrong URL, too."""
        found = self._maybe(lambda: self._api.client.GET("/health"))
        if not isinstance(found, Mapping) or "database" not in found:
            raise GrafanaRefusedError(f"{self.name}: has no Grafana API: wrong URL?")
        return self.shown(found.get("version", ""))

    def shown(self, said: object) -> str:
        """Something that came from there as one line for people, without our token and other credentials."""
        text = str(said)
        if self._bearer.token:
            text = text.replace(self._bearer.token, "***")
        text = " ".join(_CREDENTIALS.sub(r"\1 ***", text).split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

    def folder(self, uid: str) -> Tree | None:
        """A folder, None where there is none of this uid."""
        return self._object(lambda: self._api.folder.get_folder(uid), "uid", "title")

    def create_folder(self, uid: str, title: str) -> None:
        """Make a folder."""
        self._call(lambda: self._api.folder.create_folder(title, uid))

    def rename_folder(self, folder: Tree, title: str) -> None:
        """Give a folder another title."""
        self._call(lambda: self._api.folder.update_folder(folder["uid"], title, folder.get("version")))

    def datasource(self, uid: str) -> Tree | None:
        """A data source, None where there is none of this uid."""
        return self._object(lambda: self._api.datasource.get_datasource_by_uid(uid), "uid", "type")

    def create_datasource(self, datasource: Tree) -> None:
        """Make a data source."""
        self._call(lambda: self._api.datasource.create_datasource(datasource))

    def update_datasource(self, datasource: Tree) -> None:
        """Write a data source."""
        self._call(lambda: self._api.datasource.update_datasource_by_uid(datasource["uid"], datasource))

    def dashboard(self, uid: str) -> Stored | None:
        """A dashboard, None where there is none of this uid."""
        found = self._object(lambda: self._api.dashboard.get_dashboard(uid))
        if found is None:
            return None
        dashboard, meta = found.get("dashboard"), found.get("meta")
        if not isinstance(dashboard, dict) or not isinstance(meta, dict):
            raise self._not_understood(found)
        if type(dashboard.get("version", 0)) is not int or not isinstance(dashboard.get("tags") or [], list):
            raise self._not_understood(found)
        return Stored(dashboard, str(meta.get("folderUid", "")), bool(meta.get("provisioned")))

    def save_dashboard(self, dashboard: Tree, folder_uid: str, version: int | None) -> None:
        """Write a dashboard in place of that version, None: there was none. Refused where there is another by now."""
        body = {**dashboard, "id": None} if version is None else {**dashboard, "version": version}
        request = {"dashboard": body, "folderUid": folder_uid, "overwrite": False, "message": "controlplane"}
        self._call(lambda: self._api.dashboard.update_dashboard(request))

    def delete_dashboard(self, uid: str) -> None:
        """Delete a dashboard."""
        self._call(lambda: self._api.dashboard.delete_dashboard(uid))

    def dashboards(self, tag: str, folder_uid: str) -> list[str]:
        """The uids of the dashboards in a folder that have the tag."""
        rows = self._rows(
            lambda: self._api.search.search_dashboards(
                tag=tag, type_="dash-db", folder_uids=[folder_uid], limit=str(_MOST)
            ),
            "uid",
        )
        # older ones ignore the parameter for the folder
        return [row["uid"] for row in rows if row.get("folderUid") == folder_uid and tag in (row.get("tags") or ())]

    def annotate(self, annotation: Annotation, *, again: bool = False) -> None:
        """Write an annotation for all dashboards. `again`: only where an earlier call did not write it after all."""
        at_ms = round(annotation.at * 1000)
        until_ms = None if annotation.until is None else round(annotation.until * 1000)
        text = html.escape(annotation.text)  # Grafana shows it as HTML
        if again:
            rows = self._rows(
                lambda: self._api.annotations.find_annotations(at_ms, until_ms or at_ms, tags=annotation.tags[:1]),
                "text",
            )
            if any(row.get("text") == text and row.get("time") == at_ms for row in rows):
                return
        tags = list(annotation.tags)
        self._call(
            lambda: self._api.annotations.add_annotation(time_from=at_ms, time_to=until_ms, tags=tags, text=text)
        )

    def _object(self, call: Callable[[], Any], *texts: str) -> Tree | None:
        """An object with these texts in it, None where there is none (404)."""
        found = self._maybe(call)
        if found is None or _has(found, texts):
            return found
        raise self._not_understood(found)

    def _rows(self, call: Callable[[], Any], *texts: str) -> list[Tree]:
        """A list of objects with these texts in them."""
        found = self._call(call)
        if not isinstance(found, list) or not all(_has(row, texts) for row in found):
            raise self._not_understood(found)
        return found

    def _maybe(self, call: Callable[[], T]) -> T | None:
        """What is there, None where nothing is (404)."""
        try:
            found = self._asked(call)
        except GrafanaClientError as error:
            if error.status_code == 404:
                return None
            raise self._refusal(error) from None
        if found is None:
            raise self._not_understood("null")
        return found

    def _call(self, call: Callable[[], T]) -> T:
        try:
            found = self._asked(call)
        except GrafanaClientError as error:
            raise self._refusal(error) from None
        if isinstance(found, str):
            raise self._not_understood(found)
        return found

    def _asked(self, call: Callable[[], T]) -> T:
        try:
            return self._within(call)
        except TimeoutError as error:
            raise TargetUnreachableError(self.name, str(error)) from None
        except GrafanaServerError as error:
            raise TargetUnreachableError(self.name, f"answered HTTP {error.status_code}: {self._said(error)}") from None
        except GrafanaClientError as error:
            if error.status_code in _LATER:
                raise TargetUnreachableError(
                    self.name, f"answered HTTP {error.status_code}: {self._said(error)}"
                ) from None
            raise
        except (GrafanaTimeoutError, niquests.Timeout):
            raise TargetUnreachableError(self.name, f"no answer within {self._timeout_s:g} s") from None
        except niquests.TooManyRedirects:
            raise GrafanaRefusedError(
                f"{self.name}: redirects are not followed: give the URL it redirects to"
            ) from None
        except niquests.JSONDecodeError:
            raise self._not_understood("an answer that is not JSON") from None
        except niquests.exceptions.SSLError:
            raise TargetUnreachableError(
                self.name, "TLS failed: is its certificate signed by an authority that is known here?"
            ) from None
        except niquests.RequestException as error:
            raise TargetUnreachableError(self.name, _why_not(error)) from None

    def _refusal(self, error: GrafanaClientError) -> GrafanaRefusedError:
        status, said, file = error.status_code, self._said(error), self._settings.token_file
        if status == 401:
            return GrafanaRefusedError(f"{self.name}: the token in token_file {file} is not accepted (HTTP 401)")
        if status == 403:
            return GrafanaForbiddenError(f"{self.name}: the token in token_file {file} has no right to: {said}")
        if status == 404:
            return GrafanaRefusedError(f"{self.name}: {said} (HTTP 404)")
        return GrafanaRefusedError(f"{self.name}: refuses it: {said} (HTTP {status})")

    def _not_understood(self, found: object) -> GrafanaRefusedError:
        if isinstance(found, str) and found.lstrip()[:1] == "<":
            found = "a page for browsers, such as that of a login in front of it"
        return GrafanaRefusedError(f"{self.name}: not an answer of a Grafana: {self.shown(found)}")

    def _said(self, error: GrafanaClientError | GrafanaServerError) -> str:
        """What Grafana says that is wrong, in its words."""
        answer = error.response
        if isinstance(answer, Mapping):
            return self.shown(answer.get("message") or "no reason given")
        text = self.shown(answer or "")
        return "a page for browsers" if text[:1] == "<" else text or "no reason given"


class _Bearer(AuthBase):  # type: ignore[misc,unused-ignore]
    """Sets the token of a file; `token` is the newest."""

    def __init__(self, name: str, file: str, read_token: Callable[[str], str]) -> None:
        self._name = name
        self._file = file
        self._read_token = read_token
        self.token = ""

    def __call__(self, request: Any) -> Any:
        """The request with the token. Raises GrafanaRefusedError."""
        try:
            self.token = self._read_token(self._file)
        except ValueError as error:
            raise GrafanaRefusedError(f"{self._name}: {error}") from None
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _has(found: object, texts: Iterable[str]) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(name), str) for name in texts)


def _why_not(error: BaseException) -> str:
    """What happened to a connection, from the innermost error that tells."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused"
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        seen = inner if isinstance(inner, BaseException) else (seen.__cause__ or seen.__context__)
    if "resolve" in str(error).lower():
        return UNRESOLVED
    return "connection closed without an answer"
