"""Connecting to an API server by the `kubernetes` client, with errors that say in a few words what to do.

The client is imported when the first connection is made: it takes a second and 55 MB, which only those pay who have a
workload on Kubernetes.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from controlplane.domain.errors import TargetUnreachableError

ApiObject: TypeAlias = Mapping[str, Any]

_IMPORTING = threading.Lock()


class ApiServerError(TargetUnreachableError):
    """The API server gave no usable answer.

    `gone`: the version asked for is forgotten, list anew. `refused`: a person has to change something first.
    `retry_after_s`: what the server asked for. `status`: that of its answer, 0: there was none.
    """

    def __init__(
        self, why: str, *, gone: bool = False, refused: bool = False, retry_after_s: float = 0.0, status: int = 0
    ) -> None:
        super().__init__("Kubernetes", why)
        self.gone = gone
        self.refused = refused
        self.retry_after_s = retry_after_s
        self.status = status


def connect(kubeconfig: str, context: str, timeout_s: float) -> Any:
    """An ApiClient. Both empty: the pod's own service account, else the user's usual configuration.

    Raises ApiServerError where that cannot be read.
    """
    with told("read the configuration of Kubernetes", timeout_s):
        # its modules import each other in circles, when first used: not safe by two threads at once
        with _IMPORTING:
            from kubernetes import client, watch  # noqa: PLC0415 - see above

            new_client = client.ApiClient
            _ = client.CoreV1Api, client.DiscoveryV1Api, client.CustomObjectsApi, client.ApisApi, watch.Watch
        return new_client(_configuration(kubeconfig, context))


def _configuration(kubeconfig: str, context: str) -> Any:
    from kubernetes import client, config  # noqa: PLC0415

    configuration = client.Configuration()
    # urllib3 would sleep through a Retry-After by itself, and try three times more where nobody answers
    configuration.retries = False
    if not kubeconfig and not context:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            pass
        else:
            return configuration
    try:
        config.load_kube_config(
            config_file=kubeconfig or None,
            context=context or None,
            client_configuration=configuration,
            persist_config=False,
        )
    except Exception as error:  # noqa: BLE001 - the library lets those of yaml, of the system and of base64 through
        raise _unreadable(kubeconfig or config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION, error) from None
    return configuration


def _unreadable(kubeconfig: str, error: Exception) -> ApiServerError:
    """Why a kubeconfig cannot be used, without any text of its own: it holds credentials."""
    from kubernetes.config import ConfigException  # noqa: PLC0415

    if isinstance(error, ConfigException):
        why = str(error)
    elif isinstance(error, OSError) and error.errno:
        why = os.strerror(error.errno).lower()
    else:
        why = f"it is not a kubeconfig ({type(error).__name__})"
    return ApiServerError(f"cannot read the configuration of Kubernetes in {kubeconfig}: {why}", refused=True)


@contextmanager
def told(what: str, timeout_s: float) -> Iterator[None]:
    """Turns whatever the client raises into an ApiServerError."""
    try:
        yield
    except (ApiServerError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - the client, urllib3, ssl, yaml: each has exceptions of its own
        raise _error(what, error, timeout_s) from None


def _error(what: str, error: Exception, timeout_s: float) -> ApiServerError:
    """What went wrong, by no text of an exception that could hold a credential."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415
    from kubernetes.config import ConfigException  # noqa: PLC0415

    if isinstance(error, ConfigException):
        return ApiServerError(f"cannot {what}: {error}", refused=True)
    if isinstance(error, ApiException) and error.status:
        return _answered(what, error)
    return ApiServerError(f"cannot {what}: {_connection(error, timeout_s)}")


def _answered(what: str, error: Any) -> ApiServerError:
    """An answer with a status other than success."""
    code, message = int(error.status), _message(error)
    if code == 410:
        return ApiServerError(f"cannot {what}: its version is forgotten", gone=True, status=code)
    if code == 401:
        why = "the API server does not accept the credentials (401)"
        return ApiServerError(f"cannot {what}: {why}; check the token or the kubeconfig", refused=True, status=code)
    if code == 403:
        verb, _, of = what.partition(" ")
        verbs = "get, list and watch" if verb in {"list", "watch"} else verb
        needs = f"the service account needs {verbs} of {of}"
        return ApiServerError(f"cannot {what}: forbidden{message}; {needs}", refused=True, status=code)
    if code == 429:
        why = "the API server asks for fewer requests (429)"
        return ApiServerError(f"cannot {what}: {why}", retry_after_s=_retry_after_s(error), status=code)
    why = f"the API server answered {code}{message}"
    asked_s = _retry_after_s(error)
    return ApiServerError(f"cannot {what}: {why}", refused=code < 500, retry_after_s=asked_s, status=code)


def _message(error: Any) -> str:
    """The message of the Status object that the API server answered with, in brackets; empty where there is none."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return ""
    return f" ({str(message)[:200]})" if message else ""


def _retry_after_s(error: Any) -> float:
    """Seconds of a Retry-After header; 0 without one, or with a date."""
    try:
        seconds = float((error.headers or {}).get("Retry-After", "0"))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _connection(error: BaseException, timeout_s: float) -> str:
    """Why there was no answer."""
    name = type(error).__name__
    if "Timeout" in name:
        return "no connection in time" if "Connect" in name else f"no answer within {timeout_s:g} s"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "the host name of the API server does not resolve"
        if "SSL" in type(cause).__name__ or getattr(cause, "status", None) == 0:
            return "no TLS connection: the certificate of the API server, or ours, is not accepted"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, KeyError | TypeError | ValueError):
        return f"an answer that is not understood ({name})"
    return f"the connection broke off ({name})"
