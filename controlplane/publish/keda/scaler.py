"""The external scaler that KEDA asks, over gRPC.

KEDA asks IsActive and GetMetrics every polling interval, and holds StreamIsActive open where the trigger is of type
external-push, so that a workload at zero is woken at once. An error makes it and its HPA leave the replicas alone
(pkg/scaling/executor/scale_scaledobjects.go), so what is not known is answered with one, never with a number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import grpc
import structlog
from grpc import aio

from controlplane.config.settings import KedaSettings
from controlplane.domain.errors import (
    ConfigurationError,
    ConflictError,
    ControlPlaneError,
    Fault,
    NotFoundError,
    TransientError,
)
from controlplane.domain.picture import Picture
from controlplane.publish.keda import externalscaler_pb2 as pb
from controlplane.publish.keda.answers import METRIC, desired, workload_of

log = structlog.get_logger(__name__)

_SERVICE = "externalscaler.ExternalScaler"
_STOP_S = 0.5
# A stream looks again this often even if nothing is announced: what was decided may have grown too old.
_LOOK_S = 5.0


class ExternalScaler:
    """Serves KEDA from what the loop last knew. `changed(timeout_s)` returns when there may be something new."""

    def __init__(
        self,
        settings: KedaSettings,
        picture: Callable[[], Picture],
        changed: Callable[[float], Awaitable[None]],
        max_age_s: float,
    ) -> None:
        self._settings = settings
        self._picture = picture
        self._changed = changed
        self._max_age_s = max_age_s
        self._server: aio.Server | None = None
        self.port = 0
        """The port it listens on, once started."""

    async def start(self) -> None:
        """Listen. Raises ConflictError where the address cannot be had, ConfigurationError for an unreadable file."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        address, secured = f"{host}:{self._settings.port}", _credentials(self._settings)
        # else two could listen on one port, and each would get a part of what is asked
        self._server = aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers((_handler(self),))
        try:
            if secured is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, secured)
        except RuntimeError:
            raise ConflictError(f"cannot listen for KEDA on {address}; set keda.host or keda.port") from None
        await self._server.start()
        log.info("external scaler of KEDA listens", address=f"{host}:{self.port}", tls=secured is not None)

    async def close(self) -> None:
        """End, and the streams with it; KEDA opens them anew elsewhere."""
        if self._server is not None:
            await self._server.stop(_STOP_S)

    async def is_active(self, ref: pb.ScaledObjectRef, context: aio.ServicerContext) -> pb.IsActiveResponse:
        """Whether any replica is wanted."""
        return pb.IsActiveResponse(result=await self._told(ref.scalerMetadata, context) > 0)

    async def stream_is_active(
        self, ref: pb.ScaledObjectRef, context: aio.ServicerContext
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """The same at first, and whenever it changes. While it is not known, nothing."""
        await self._checked(ref.scalerMetadata, context)
        told: bool | None = None
        while True:
            with suppress(ControlPlaneError):
                active = desired(self._picture(), ref.scalerMetadata, self._max_age_s) > 0
                if active is not told:
                    told = active
                    yield pb.IsActiveResponse(result=active)
                    continue  # what came while that was sent is not announced again
            await self._changed(_LOOK_S)

    async def metric_spec(self, ref: pb.ScaledObjectRef, context: aio.ServicerContext) -> pb.GetMetricSpecResponse:
        """One metric, with an average of 1 by pod."""
        await self._checked(ref.scalerMetadata, context)
        return pb.GetMetricSpecResponse(
            metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)]
        )

    async def metrics(self, request: pb.GetMetricsRequest, context: aio.ServicerContext) -> pb.GetMetricsResponse:
        """Its value: replicas that are wanted."""
        if request.metricName != METRIC:
            await _refuse(context, NotFoundError("metric", request.metricName, (METRIC,)))
        value = await self._told(request.scaledObjectRef.scalerMetadata, context)
        told = pb.MetricValue(metricName=METRIC, metricValue=value, metricValueFloat=float(value))
        return pb.GetMetricsResponse(metricValues=[told])

    async def _told(self, metadata: Mapping[str, str], context: aio.ServicerContext) -> int:
        try:
            return desired(self._picture(), metadata, self._max_age_s)
        except ControlPlaneError as error:
            await _refuse(context, error)

    async def _checked(self, metadata: Mapping[str, str], context: aio.ServicerContext) -> None:
        try:
            workload_of(self._picture(), metadata)
        except ControlPlaneError as error:
            await _refuse(context, error)


async def _refuse(context: aio.ServicerContext, error: ControlPlaneError) -> NoReturn:
    if isinstance(error, NotFoundError):
        code = grpc.StatusCode.NOT_FOUND
    elif isinstance(error, TransientError):
        code = grpc.StatusCode.UNAVAILABLE
    else:
        code = grpc.StatusCode.FAILED_PRECONDITION
    await context.abort(code, str(error))
    raise AssertionError  # abort raised already


def _handler(scaler: ExternalScaler) -> grpc.GenericRpcHandler:
    def unary(call: Callable[..., Any], request: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(call, request.FromString, lambda answer: answer.SerializeToString())

    ref = pb.ScaledObjectRef
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            "IsActive": unary(scaler.is_active, ref),
            "GetMetricSpec": unary(scaler.metric_spec, ref),
            "GetMetrics": unary(scaler.metrics, pb.GetMetricsRequest),
            "StreamIsActive": grpc.unary_stream_rpc_method_handler(
                scaler.stream_is_active, ref.FromString, lambda answer: answer.SerializeToString()
            ),
        },
    )


def _credentials(settings: KedaSettings) -> grpc.ServerCredentials | None:
    if settings.cert_file is None or settings.key_file is None:
        return None
    pair = (_read(settings.key_file, "key_file"), _read(settings.cert_file, "cert_file"))
    authority = None if settings.client_ca_file is None else _read(settings.client_ca_file, "client_ca_file")
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def _read(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fault = Fault(f"keda.{key}", repr(str(file)), f"a readable PEM file ({error.strerror})")
        raise ConfigurationError("configuration", (fault,)) from None
