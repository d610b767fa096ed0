"""A Grafana of our own: the parts of its HTTP API that are used, with its versions, conflicts and refusals.

Answers are those of Grafana 11 and 12 (pkg/api, docs of the HTTP API).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "glsa_of-the-tests"
Answer = tuple[int, Any]


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.answer: Answer = (code, {"message": message, **more})


@dataclass
class GrafanaServer:
    """What it holds, and who may do what. `answers_with`: this for every request, in place of what it holds."""

    url: str = ""
    role: str = "Admin"
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    datasources: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    answers_with: tuple[int, str, str] | None = None
    drips: bool = False
    """Every answer comes byte by byte and never ends."""
    ended: Event = field(default_factory=Event)
    lost: int = 0
    """So many more annotations are written, and their answers lost."""

    def answer(self, token: str, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Status and document. Raises RefusedError."""
        if token != f"Bearer {TOKEN}":
            raise RefusedError(401, "Invalid API key")
        if method != "GET":
            self.writes.append(f"{method} {path}")
        match path.strip("/").split("/")[1:]:
            case ["health"]:
                found: Answer = (200, {"database": "ok", "version": "12.1.0", "commit": "0"})
            case ["folders", *uid]:
                found = self._folder(method, uid, body)
            case ["datasources", *uid]:
                found = self._datasource(method, uid[-1:], body)
            case ["dashboards", "db"] if method == "POST":
                found = self._save(body)
            case ["dashboards", "uid", uid_]:
                found = self._dashboard(method, uid_)
            case ["search"]:
                found = (200, self._search(query))
            case ["annotations"]:
                found = self._annotation(method, query, body)
            case _:
                raise RefusedError(404, "Not found")
        return found

    def _folder(self, method: str, uid: list[str], body: Any) -> Answer:
        if method == "POST":
            if any(folder["title"] == body["title"] for folder in self.folders.values()):
                raise RefusedError(409, "a folder with the name already exists in the current location")
            self.folders[body["uid"]] = {"uid": body["uid"], "title": body["title"], "version": 1}
            return 200, self.folders[body["uid"]]
        if uid[0] not in self.folders:
            raise RefusedError(404, "folder not found", status="not-found")
        folder = self.folders[uid[0]]
        if method == "PUT":
            if not body.get("overwrite") and body.get("version") != folder["version"]:
                raise RefusedError(412, "the folder has been changed by someone else", status="version-mismatch")
            folder.update(title=body["title"], version=folder["version"] + 1)
        return 200, folder

    def _datasource(self, method: str, uid: list[str], body: Any) -> Answer:
        if self.role != "Admin":
            raise RefusedError(403, "You'll need additional permissions to perform this action.")
        if method == "POST":
            if any(known["name"] == body["name"] for known in self.datasources.values()):
                raise RefusedError(409, "data source with the same name already exists")
            self.datasources[body["uid"]] = {"id": len(self.datasources) + 1, "version": 1, "readOnly": False, **body}
            return 200, {"datasource": self.datasources[body["uid"]], "message": "Datasource added"}
        if uid[0] not in self.datasources:
            raise RefusedError(404, "Data source not found")
        if method == "PUT":
            if self.datasources[uid[0]]["readOnly"]:
                raise RefusedError(403, "Cannot update read-only data source")
            self.datasources[uid[0]] = body | {"version": body["version"] + 1}
        return 200, self.datasources[uid[0]]

    def _save(self, body: Any) -> Answer:
        dashboard, uid = deepcopy(body["dashboard"]), body["dashboard"]["uid"]
        if body["folderUid"] not in self.folders:
            raise RefusedError(400, "folder not found")
        if uid in self.dashboards:
            stored, meta = self.dashboards[uid]
            if meta["provisioned"]:
                raise RefusedError(400, "Cannot save provisioned dashboard")
            if not body["overwrite"] and dashboard.get("version") != stored["version"]:
                raise RefusedError(412, "The dashboard has been changed by someone else", status="version-mismatch")
            dashboard.update(id=stored["id"], version=stored["version"] + 1)
        else:
            dashboard.update(id=len(self.dashboards) + 1, version=1)
        self.dashboards[uid] = (dashboard, {"folderUid": body["folderUid"], "provisioned": False})
        return 200, {"uid": uid, "id": dashboard["id"], "version": dashboard["version"], "status": "success"}

    def _dashboard(self, method: str, uid: str) -> Answer:
        if uid not in self.dashboards:
            raise RefusedError(404, "Dashboard not found")
        dashboard, meta = self.dashboards[uid]
        if method == "DELETE":
            if meta["provisioned"]:
                raise RefusedError(400, "provisioned dashboard cannot be deleted")
            del self.dashboards[uid]
            return 200, {"title": dashboard["title"], "message": f"Dashboard {dashboard['title']} deleted"}
        return 200, {"dashboard": dashboard, "meta": meta | {"version": dashboard["version"]}}

    def _search(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        return [
            {"uid": uid, "title": dashboard["title"], "tags": dashboard["tags"], "folderUid": meta["folderUid"]}
            for uid, (dashboard, meta) in self.dashboards.items()
            if set(query.get("tag", ())) <= set(dashboard["tags"])
            and meta["folderUid"] in query.get("folderUIDs", [meta["folderUid"]])
        ]

    def _annotation(self, method: str, query: dict[str, list[str]], body: Any) -> Answer:
        if method == "GET":
            since, until = (int(query[name][0]) for name in ("from", "to"))
            of_tags = [a for a in self.annotations if set(query.get("tags", ())) <= set(a["tags"])]
            return 200, [a for a in of_tags if a["time"] <= until and a["timeEnd"] >= since]
        if not body.get("text"):
            raise RefusedError(400, "Failed to save annotation", error="text field should not be empty")
        self.annotations.append({**body, "timeEnd": body["timeEnd"] or body["time"], "id": len(self.annotations) + 1})
        return 200, {"id": len(self.annotations), "message": "Annotation added"}


@contextmanager
def grafana_served(port: int = 0) -> Iterator[GrafanaServer]:
    """A Grafana at a port of this machine, 0: a free one."""
    grafana = GrafanaServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if grafana.drips:
                self.close_connection = True
                _drip(self.wfile, grafana.ended)
                return
            if grafana.answers_with is not None:
                status, kind, text = grafana.answers_with
                self._send(status, kind, text.encode())
                return
            try:
                status, answer = grafana.answer(
                    self.headers.get("Authorization", ""),
                    self.command,
                    unquote(parts.path),
                    parse_qs(parts.query),
                    json.loads(body) if body else None,
                )
            except RefusedError as error:
                status, answer = error.answer
            if self.command == "POST" and parts.path == "/api/annotations" and grafana.lost > 0:
                grafana.lost -= 1
                self.close_connection = True
                return
            self._send(status, "application/json", json.dumps(answer).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "/login")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server calls them so

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    grafana.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield grafana
    finally:
        grafana.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _drip(out: BufferedIOBase, ended: Event) -> None:
    with suppress(OSError):
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.02):
            out.write(b" ")
