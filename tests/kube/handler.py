"""HTTP requests of the Kubernetes API, answered from objects and faults."""

from __future__ import annotations

import base64
import json
import re
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.kube.errors import ApiError
from tests.kube.evictions import evict
from tests.kube.faults import Fault
from tests.kube.objects import Change, Object, Place, merged
from tests.kube.rights import check_rights
from tests.kube.scales import scale_of, scaled
from tests.kube.selectors import Matches, selector

if TYPE_CHECKING:
    from tests.kube.server import ApiServer

_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>status|scale|binding|eviction|log))?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_HOUR_S = 3600.0
_TRUE = {"1", "t", "T", "true", "True", "TRUE"}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    failing: ApiError | None = None
    """What the watch under way is to be told."""

    @property
    def api(self) -> ApiServer:
        return self.server.api  # type: ignore[attr-defined,no-any-return]

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length) or b"null")
        address = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(address.query, keep_blank_values=True).items()}
        try:
            self._answer(unquote(address.path))
        except ApiError as error:
            self._send(error.code, error.status)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests print what they want to know."""

    def _answer(self, path: str) -> None:
        found = _PATH.fullmatch(path)
        group, version = (found["group"] or "", found["core"] or found["version"]) if found else ("", "")
        kinds = [
            k
            for k in self.api.objects.kinds
            if found and (k.group, k.version, k.plural) == (group, version, found["plural"])
        ]
        if self.command == "GET" and (listed := self._discovery(path)) is not None:
            self.verb, self.resource = "get", path
            self._send(200, listed)
            return
        if found is None or not kinds:
            self.verb, self.resource = self.command.lower(), path
            raise ApiError(404, "the server could not find the requested resource")
        place = Place(kinds[0], found["namespace"] or "", found["name"] or "")
        watching = self.query.get("watch") in _TRUE
        reading = "get" if place.name else "watch" if watching else "list"
        self.verb, self.resource = _VERBS.get(self.command, reading), place.kind.plural
        answers = {"scale": self._scale, "binding": self._bind, "eviction": self._evict, "log": self._log}
        if found["sub"] in answers:
            self.resource += f"/{found['sub']}"
        self._authorise(place)
        if (met := self.api.faults.meeting(self.verb, self.resource)) is not None:
            fault, healed = met
            if fault.code:
                self._fail(fault)
                return
            healed.wait()
            if not fault.late:
                self.close_connection = True
                return
        if self.verb == "list":
            self._list(place)
        elif self.verb == "watch":
            self._watch(place)
        elif found["sub"] in answers:
            answers[found["sub"]](place)
        else:
            self._one(place, status=found["sub"] == "status")

    def _authorise(self, place: Place) -> None:
        shown = self.headers.get("Authorization", "")[len("Bearer ") :]
        if shown in self.api.rights:
            check_rights(self.api.rights[shown], self.verb, self.resource, place)
        elif self.api.token and shown != self.api.token:
            raise ApiError(401, "Unauthorized")

    def _bind(self, place: Place) -> None:
        pod = self.api.objects.get(place)
        pod["spec"]["nodeName"] = self.body["target"]["name"]
        self._send(201, self.api.objects.update(place, pod, status=False))

    def _evict(self, place: Place) -> None:
        uid = ((self.body.get("deleteOptions") or {}).get("preconditions") or {}).get("uid", "")
        evict(self.api.objects, place, uid)
        self._send(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _log(self, place: Place) -> None:
        """Nothing runs here: what a pod would have written is its annotation `log`."""
        text = (self.api.objects.get(place)["metadata"].get("annotations") or {}).get("log", "")
        self._send(200, {}, Fault(200, body=text.encode()))

    def _scale(self, place: Place) -> None:
        objects = self.api.objects
        with objects.changed:
            thing = objects.get(place)
            now = scale_of(place.kind, thing)
            body = self.body
            if self.verb == "get":
                self._send(200, now)
                return
            if self.verb == "patch":
                body = merged(now, self.body)
                if "resourceVersion" not in self.body.get("metadata", {}):
                    body["metadata"].pop("resourceVersion")
            wanted = scaled(place.kind, thing, body)
            self._send(200, scale_of(place.kind, objects.update(place, wanted, status=False)))

    def _discovery(self, path: str) -> Object | None:
        """The API groups, or the kinds of one of them; None: it is another path."""
        kinds = [kind for kind in self.api.objects.kinds if kind.group]
        if path in {"/apis", "/apis/"}:
            versions = {kind.group: {"groupVersion": kind.api_version, "version": kind.version} for kind in kinds}
            groups = [{"name": name, "versions": [v], "preferredVersion": v} for name, v in sorted(versions.items())]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        of = [kind for kind in kinds if path.rstrip("/") == f"/apis/{kind.api_version}"]
        if not of:
            return None
        listed = [{"name": k.plural, "kind": k.name, "namespaced": k.namespaced} for k in of]
        scales = [{"name": f"{k.plural}/scale", "kind": "Scale", "namespaced": True} for k in of if k.scale]
        return {"kind": "APIResourceList", "groupVersion": of[0].api_version, "resources": listed + scales}

    def _one(self, place: Place, *, status: bool) -> None:
        objects = self.api.objects
        if self.verb == "get":
            self._send(200, objects.get(place))
        elif self.verb == "create":
            self._send(201, objects.create(place, self.body))
        elif self.verb == "update":
            self._send(200, objects.update(place, self.body, status=status))
        elif self.verb == "delete":
            options = self.body or {}
            grace = self.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
            uid = (options.get("preconditions") or {}).get("uid", "")
            self._send(200, objects.delete(place, None if grace is None else int(grace), uid))
        else:
            if self.headers.get("Content-Type") != "application/merge-patch+json":
                raise ApiError(415, "the body of the request was in an unknown format; accepted: merge patches")
            with objects.changed:
                body = merged(objects.get(place), self.body)
                if "resourceVersion" not in self.body.get("metadata", {}):
                    body["metadata"].pop("resourceVersion")
                self._send(200, objects.update(place, body, status=status))

    def _list(self, place: Place) -> None:
        matches, limit = self._selector(), int(self.query.get("limit") or 0)
        objects = self.api.objects
        if token := self.query.get("continue"):
            version, start = json.loads(base64.b64decode(token))
            found = objects.pages(version)
        else:
            (found, version), start = objects.all(place), 0
            found = [o for o in found if matches(o["metadata"].get("labels") or {}) and self._at_fields(o)]
        page = found[start : start + limit] if limit else found[start:]
        meta: Object = {"resourceVersion": str(version)}
        if start + len(page) < len(found):
            objects.keep_pages(found, version)
            meta["continue"] = base64.b64encode(json.dumps([version, start + len(page)]).encode()).decode()
            meta["remainingItemCount"] = len(found) - start - len(page)
        kind = f"{place.kind.name}List"
        self._send(200, {"kind": kind, "apiVersion": place.kind.api_version, "metadata": meta, "items": page})

    def _watch(self, place: Place) -> None:
        """Events as JSON lines until the time asked for is over, or the version is forgotten."""
        matches, objects = self._selector(), self.api.objects
        ends = time.monotonic() + float(self.query.get("timeoutSeconds") or _HOUR_S)
        asked = self.query.get("resourceVersion", "")
        self.failing = None
        self._begin_stream()
        with objects.changed:
            self.api.watches.add(self)
            if asked in {"", "0"}:
                found, version = objects.all(place)
                for one in found:
                    if matches(one["metadata"].get("labels") or {}):
                        self._event("ADDED", one)
            else:
                version = int(asked)
        try:
            self._follow(place, matches, version, ends)
        except ApiError as error:
            self._event("ERROR", error.status)
        finally:
            self.api.watches.discard(self)
        self._chunk(b"")

    def _follow(self, place: Place, matches: Matches, version: int, ends: float) -> None:
        objects, bookmarks = self.api.objects, self.query.get("allowWatchBookmarks") in _TRUE
        bookmark_at = time.monotonic() + self.api.bookmark_s
        while (now := time.monotonic()) < ends and not self.api.closing.is_set():
            with objects.changed:
                if self.failing is not None:
                    raise self.failing
                changes, version = list(objects.since(version)), objects.version
                if not changes:
                    objects.changed.wait(max(min(ends, bookmark_at) - now, 0.001))
            for change in changes:
                if place.holds(change.place) and (event := _event(change, matches)) is not None:
                    self._event(*event)
            if bookmarks and time.monotonic() >= bookmark_at:
                kind = {"kind": place.kind.name, "apiVersion": place.kind.api_version}
                self._event("BOOKMARK", kind | {"metadata": {"resourceVersion": str(version)}})
                bookmark_at = time.monotonic() + self.api.bookmark_s

    def _selector(self) -> Matches:
        try:
            return selector(self.query.get("labelSelector", ""))
        except ValueError as error:
            raise ApiError(400, str(error)) from None

    def _at_fields(self, thing: Object) -> bool:
        """Whether it has what a field selector of one equality asks for."""
        path, asked, value = self.query.get("fieldSelector", "").partition("=")
        if not asked:
            return True
        found: Any = thing
        for key in path.split("."):
            found = (found or {}).get(key)
        return bool(found == value)

    def _fail(self, fault: Fault) -> None:
        message = fault.message or f"made to answer {fault.code}"
        self._send(fault.code, ApiError(fault.code, message).status, fault)

    def _send(self, code: int, body: Object, fault: Fault | None = None) -> None:
        self.api.note(self.verb, self.resource, code)
        data = json.dumps(body).encode() if fault is None or fault.body is None else fault.body
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (fault.headers if fault else {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self) -> None:
        self.api.note(self.verb, self.resource, 200)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _event(self, kind: str, what: Object) -> None:
        self._chunk(json.dumps({"type": kind, "object": what}).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def _event(change: Change, matches: Matches) -> tuple[str, Object] | None:
    """What a watch with a selector is told of a change: an object that it no longer selects is deleted to it."""
    was = change.before is not None and matches(change.before["metadata"].get("labels") or {})
    now = change.after is not None and matches(change.after["metadata"].get("labels") or {})
    if change.after is not None and now:
        return ("MODIFIED" if was else "ADDED"), change.after
    if change.before is not None and was:
        version = {"resourceVersion": str(change.version)}
        return "DELETED", change.before | {"metadata": change.before["metadata"] | version}
    return None
