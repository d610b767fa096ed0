"""A real Chromium without a window, driven by its DevTools protocol over a pipe; nothing of it listens on a port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

_DEADLINE_S = 60.0
_PIPE_BYTES = 1 << 16
_LOOK_S = 0.02


class BrowserError(AssertionError):
    """The browser, or the page in it, said that something failed."""


class Browser:
    """The process. Use as a context."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._log = (folder / "chromium.log").open("wb")
        to_browser, self._ask = os.pipe()
        self._answers, from_browser = os.pipe()
        # the protocol's ends are 3 and 4 in the browser: from numbers above these neither overwrites the other
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "-", binary),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
                *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
                *("--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank"),
            ],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        for end in (to_browser, from_browser, *theirs):
            os.close(end)
        self._rest = b""
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ask)
        os.close(self._answers)
        self._log.close()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command. What happened meanwhile is kept in `events`."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        text = json.dumps(message if session is None else message | {"sessionId": session}).encode() + b"\0"
        while text:
            text = text[os.write(self._ask, text) :]
        deadline = time.monotonic() + 2 * _DEADLINE_S
        while True:
            answer = self._read(deadline, method)
            if "id" not in answer:
                self.events.append(answer)
            elif answer["id"] == self._last_id:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._answers], [], [], left_s)[0]:
                raise BrowserError(f"no answer to {method}")
            more = os.read(self._answers, _PIPE_BYTES)
            if not more:
                raise BrowserError(f"the browser ended, of which {self._log.name} tells")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Tab:
    """A tab of its own, without what others stored."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        made = browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        attached = browser.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self._browser.call(method, self._session, **parameters)

    def close(self) -> None:
        """The end of it, and of what it stored."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def open(self, url: str) -> None:
        """Go there. Whether it is loaded is for `until` to find out."""
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What an expression is in the page, promises awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true in the page. One that cannot be told is not true yet."""
        deadline = time.monotonic() + _DEADLINE_S
        why = ""
        while time.monotonic() < deadline:
            try:
                if self.value(f"Boolean({condition})"):
                    return
            except BrowserError as error:  # the page is not there yet, or was left while it was asked
                why = str(error)
            time.sleep(_LOOK_S)
        raise BrowserError(f"it never came to {condition}; {why}\n{self.text('body')}")

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def faults(self) -> list[str]:
        """Errors of the page so far: exceptions, policy violations, what it logged. Answers that failed are none."""
        self.value("0")  # what happened before it is here then
        return [
            told for event in self._browser.events if event.get("sessionId") == self._session for told in _fault(event)
        ]


def _fault(event: dict[str, Any]) -> Iterator[str]:
    parameters = event["params"]
    match event["method"]:
        case "Runtime.exceptionThrown":
            yield json.dumps(parameters["exceptionDetails"])
        case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning", "assert"}:
            yield json.dumps(parameters["args"])
        case "Log.entryAdded" if parameters["entry"]["source"] != "network":
            yield json.dumps(parameters["entry"])
        case _:
            pass


def chromium_binary() -> str:
    """The browser; where it is not installed, a skip saying so (in CI a failure)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        why = "no chromium; install the Debian package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found
