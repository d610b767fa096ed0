"""Asks a Prometheus (Thanos, Mimir) by prometheus-api-client: every kind of answer told from every other.

HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from controlplane.collect.exposition import Labels
from controlplane.collect.prometheus.http import Bearer, Bounded, TooLargeError, TooSlowError, why_not
from controlplane.collect.worker import Worker
from controlplane.domain.errors import (
    AnswerTooLargeError,
    MalformedPageError,
    QueryRefusedError,
    TargetUnreachableError,
)
from controlplane.domain.sources import PrometheusSpec

T = TypeVar("T")
Samples: TypeAlias = Sequence[tuple[Labels, float]]
_BAD_URL = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
LIMIT_BYTES = 128 * 2**20
_SHOWN = 200
_TOO_MANY = "too many samples"
_OTHER_RESULTS = {
    "matrix": "ranges of samples (a matrix)",
    "scalar": "one number without a series (a scalar)",
    "string": "a string",
}
"""What is not a vector of the types of https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries."""
"""What Prometheus says of a query above its --query.max-samples."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An instant vector at `at`, unix seconds of Prometheus' clock; None where it is empty and no moment was asked for.

    `warnings`: the answer is partial, and why. What it lacks is missing then. `infos` are remarks on the query.
    """

    samples: Samples
    at: float | None
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One series as it was scraped: (unix seconds of Prometheus' clock, value), oldest first."""

    labels: Labels
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What series were over a time; with `warnings` not all of it."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """An active target: its labels, the URL of its page, and its health (up, down, unknown)."""

    labels: Labels
    scrape_url: str
    health: str


@dataclass(frozen=True, slots=True)
class Targets:
    """All active targets; with `warnings` not all of them."""

    active: tuple[Target, ...]
    warnings: tuple[str, ...] = ()


class Prometheus:
    """One Prometheus. Its calls run one after the other on one thread of its own, each within its timeout.

    All raise TargetUnreachableError (no answer, too busy, failing: later may help), QueryRefusedError (a wrong query,
    no access, no such API) and MalformedPageError (no answer of a Prometheus; AnswerTooLargeError: too large a one).
    """

    def __init__(self, spec: PrometheusSpec, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.spec = spec
        self._asker = _Asker(spec, limit_bytes)
        self._worker = Worker(f"controlplane-prometheus-{spec.name}")

    async def query(self, promql: str, at: float | None = None) -> Answer:
        """The instant vector of `promql`, at `at` or now; no samples is a good answer, and not zero."""
        return await self._call(lambda: self._asker.query(promql, at))

    async def understood(self, promql: str, read: Callable[[Answer], T]) -> T:
        """What `read` makes, on the thread, of the instant vector of `promql` now: an answer may be large."""
        return await self._call(lambda: read(self._asker.query(promql, None)))

    async def past(self, selector: str, since: float, until: float) -> Past:
        """Every sample in (since, until] of the series that a selector names, at the moments they were scraped.

        A range selector is asked for as an instant query, which gives samples as they are: nothing is interpolated,
        and no bound on the points of a range query holds.
        """
        return await self._call(lambda: self._asker.past(selector, since, until))

    async def targets(self) -> Targets:
        """What it scrapes now."""
        return await self._call(self._asker.targets)

    def close(self) -> None:
        """Let go of the connection and the thread."""
        self._worker.close()
        self._asker.close()

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            # an answer that came in time has as long again to be read
            return await self._worker.call(work, 2 * self.spec.timeout_s)
        except TimeoutError as error:
            raise TargetUnreachableError(self._asker.name, str(error)) from None


class _Asker:
    """The library, and what it does not tell: warnings, the body of refusals, too large or too slow answers."""

    def __init__(self, spec: PrometheusSpec, limit_bytes: int) -> None:
        self.name = f"Prometheus {spec.name}"
        self._spec = spec
        self._limit_bytes = limit_bytes
        self._response: requests.Response | None = None
        self._until = 0.0
        self._session = requests.Session()
        self._session.max_redirects = 0  # a token goes to nobody else
        self._session.stream = True
        self._session.hooks["response"].append(self._answered)
        self._library = PrometheusConnect(
            url=spec.url,
            session=self._session,
            # never None: requests would look for a password in ~/.netrc
            auth=Bearer(self.name, spec.token_file),
            timeout=spec.timeout_s,
            retry=Retry(0, read=False),  # as requests itself: one try, and a late answer is told from a lost one
        )

    def query(self, promql: str, at: float | None) -> Answer:
        params = {"timeout": f"{self._spec.timeout_s:.3f}"}
        if at is not None:
            params["time"] = f"{at:.3f}"

        def read() -> Answer:
            rows = self._library.custom_query(promql, params) or []
            samples = [(row["metric"], float(row["value"][1])) for row in rows if "histogram" not in row]
            evaluated = float(rows[0]["value"][0]) if samples else at
            warnings, infos = self._remarks()
            return Answer(samples, evaluated, warnings, infos)

        return self._ask(promql, read)

    def past(self, selector: str, since: float, until: float) -> Past:
        promql = f"{selector}[{round((until - since) * 1000)}ms]"
        params = {"timeout": f"{self._spec.timeout_s:.3f}", "time": f"{until:.3f}"}

        def read() -> Past:
            rows = self._library.custom_query(promql, params) or []
            # before Prometheus 3 the oldest moment is within a range
            found = (
                Series(row["metric"], tuple((at, float(value)) for at, value in row["values"] if at > since))
                for row in rows
                if "histograms" not in row
            )
            return Past(tuple(series for series in found if series.samples), self._remarks()[0])

        return self._ask(promql, read)

    def targets(self) -> Targets:
        def read() -> Targets:
            found = self._library.get_targets(state="active")["activeTargets"]
            active = tuple(Target(row["labels"], row["scrapeUrl"], row["health"]) for row in found)
            return Targets(active, self._remarks()[0])

        return self._ask("", read)

    def close(self) -> None:
        self._library.close()

    def _ask(self, promql: str, read: Callable[[], T]) -> T:
        self._response = None
        self._until = time.monotonic() + self._spec.timeout_s
        try:
            return read()
        except PrometheusApiClientException:
            raise self._refusal(promql) from None
        except requests.TooManyRedirects:
            raise QueryRefusedError(f"{self.name}: redirects are not followed: give the URL it redirects to") from None
        except TooLargeError:
            raise AnswerTooLargeError(f"{self.name}: answer larger than {self._limit_bytes / 2**20:g} MiB") from None
        except _BAD_URL:
            raise QueryRefusedError(f"{self.name}: {self._spec.url} is not a URL that can be asked") from None
        except (requests.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise self._not_understood(promql) from None
        except (requests.Timeout, TooSlowError):
            raise TargetUnreachableError(self.name, f"no answer within {self._spec.timeout_s:g} s") from None
        except requests.RequestException as error:
            raise TargetUnreachableError(self.name, why_not(error)) from None
        finally:
            self._let_go()

    def _answered(self, response: requests.Response, **_: object) -> None:
        """A response hook: the library is to see no more of the body than is wanted, in no more time."""
        response.raw = Bounded(response.raw, self._limit_bytes, self._until)
        self._response = response

    def _let_go(self) -> None:
        if self._response is not None:
            self._response.close()

    def _remarks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Warnings and infos of the answer, which the library drops."""
        body = self._response.content if self._response is not None else b""
        if b'"warnings"' not in body and b'"infos"' not in body:
            return (), ()
        tree = json.loads(body)
        return tuple(tree.get("warnings") or ()), tuple(tree.get("infos") or ())

    def _refusal(self, promql: str) -> Exception:
        """What an answer with another status than 200 means."""
        status = self._response.status_code if self._response is not None else 0
        said = self._error()
        if status == 422 and _TOO_MANY in said:
            return AnswerTooLargeError(f"{self.name}: refuses {promql[:_SHOWN]!r}: {said}")
        if status in {400, 422}:
            what = f"the query {promql[:_SHOWN]!r}" if promql else "what was asked"
            return QueryRefusedError(f"{self.name}: refuses {what}: {said or f'HTTP {status}'}")
        if status in {401, 403}:
            file = self._spec.token_file
            hint = f"the token in {file} is not accepted" if file else "it wants a token: set token_file"
            return QueryRefusedError(f"{self.name}: answered HTTP {status}: {hint}")
        if status == 404:
            return QueryRefusedError(f"{self.name}: {self._spec.url} has no Prometheus API (HTTP 404): wrong URL?")
        return TargetUnreachableError(self.name, f"answered HTTP {status}{f': {said}' if said else ''}")

    def _not_understood(self, promql: str) -> Exception:
        """What an answer of status 200 means that is not what was asked for."""
        kind = self._result_type()
        if promql and kind in _OTHER_RESULTS:
            return QueryRefusedError(
                f"{self.name}: the query {promql[:_SHOWN]!r} gives {_OTHER_RESULTS[kind]}; an instant vector is needed"
            )
        return MalformedPageError(f"{self.name}: not an answer of a Prometheus: {self._begin()!r}")

    def _result_type(self) -> str:
        try:
            return str(json.loads(self._response.content)["data"]["resultType"]) if self._response is not None else ""
        except (ValueError, KeyError, TypeError):
            return ""

    def _error(self) -> str:
        """What Prometheus says that is wrong, in its words; "" where nothing is to be read."""
        try:
            tree = json.loads(self._response.content) if self._response is not None else {}
            return str(tree.get("error", ""))[:_SHOWN] if isinstance(tree, Mapping) else ""
        except ValueError:
            return ""

    def _begin(self) -> str:
        """How the answer begins; with what it says is wrong in front, where it says so."""
        said = self._error()
        return said or (self._response.content[:80].decode("utf-8", "replace") if self._response is not None else "")
