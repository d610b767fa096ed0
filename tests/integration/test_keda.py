"""The external scaler, asked as KEDA asks: by a gRPC client of its published service, over a real connection."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import aio

from controlplane.config.settings import KedaSettings
from controlplane.domain.errors import ConfigurationError, ConflictError
from controlplane.domain.picture import Picture
from controlplane.publish.keda import externalscaler_pb2 as pb
from controlplane.publish.keda.scaler import ExternalScaler
from tests.unit.publish.keda.test_answers import decided, told
from tests.unit.publish.pictures import NOW

REF = pb.ScaledObjectRef(name="llama", namespace="ml", scalerMetadata={"workload": "llama", "scalerAddress": "cp:8902"})


class Client:
    """The stub that protoc would make for KEDA's service, by the method descriptors of the published file."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._methods = pb.DESCRIPTOR.services_by_name["ExternalScaler"].methods_by_name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._methods[name]
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        answer = getattr(pb, method.output_type.name)
        return make(  # type: ignore[no-any-return]
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )


class Plane:
    """A loop whose picture the test sets."""

    def __init__(self) -> None:
        self.now = told(decided(3))
        self._change = asyncio.Condition()

    def picture(self) -> Picture:
        return self.now

    async def changed(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._change:
                await self._change.wait()

    async def show(self, picture: Picture) -> None:
        async with self._change:
            self.now = picture
            self._change.notify_all()


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[Client]:
    scaler = ExternalScaler(KedaSettings(port=0), plane.picture, plane.changed, 45.0)
    await scaler.start()
    async with aio.insecure_channel(f"127.0.0.1:{scaler.port}") as channel:
        yield Client(channel)
    await scaler.close()


async def test_every_call_of_the_published_service_but_the_optional_one_is_answered(client: Client) -> None:
    spec = await client.GetMetricSpec(REF)
    assert [(s.metricName, s.targetSize, s.targetSizeFloat) for s in spec.metricSpecs] == [("replicas", 1, 1.0)]
    told_now = await client.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="replicas"))
    assert [(v.metricName, v.metricValue, v.metricValueFloat) for v in told_now.metricValues] == [("replicas", 3, 3.0)]
    assert (await client.IsActive(REF)).result
    with pytest.raises(aio.AioRpcError) as refused:
        await anext(aiter(client.StreamMetricSpec(REF)))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, "KEDA then reads GetMetricSpec"


async def test_a_workload_at_zero_is_woken_through_the_stream_at_once(client: Client, plane: Plane) -> None:
    await plane.show(told(decided(0)))
    stream = aiter(client.StreamIsActive(REF))
    assert not (await anext(stream)).result
    await plane.show(told(decided(1)))
    assert (await anext(stream)).result


async def test_what_is_decided_while_an_answer_is_on_its_way_is_not_waited_for() -> None:
    pictures = iter([told(decided(0)), told(decided(0)), told(decided(1))])

    async def changed(_timeout_s: float) -> None:
        pytest.fail("it has changed already")

    scaler = ExternalScaler(KedaSettings(port=0), lambda: next(pictures), changed, 45.0)
    stream = scaler.stream_is_active(REF, cast("aio.ServicerContext", None))
    assert [(await anext(stream)).result for _ in range(2)] == [False, True]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_while_nothing_is_decided_the_stream_says_nothing_and_the_calls_fail(
    client: Client, plane: Plane
) -> None:
    stream = aiter(client.StreamIsActive(REF))
    assert (await anext(stream)).result
    await plane.show(told(decided(3, at=NOW - 100)))
    for call in (
        client.IsActive(REF),
        client.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="replicas")),
    ):
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await plane.show(told(decided(0)))
    assert not (await anext(stream)).result, "the next that is known comes after the one before"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [({}, grpc.StatusCode.NOT_FOUND), ({"workload": "other"}, grpc.StatusCode.NOT_FOUND)],
)
async def test_a_wrong_trigger_is_told_so(client: Client, metadata: dict[str, str], code: grpc.StatusCode) -> None:
    ref = pb.ScaledObjectRef(name="x", namespace="ml", scalerMetadata=metadata)
    for call in (client.IsActive(ref), client.GetMetricSpec(ref), anext(aiter(client.StreamIsActive(ref)))):
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is code
        assert "known: llama" in (refused.value.details() or "")


async def test_a_metric_that_is_not_there_is_told_so(client: Client) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await client.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="s0-replicas"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_port_that_is_taken_is_told_so(plane: Plane) -> None:
    first = ExternalScaler(KedaSettings(port=0), plane.picture, plane.changed, 45.0)
    await first.start()
    second = ExternalScaler(KedaSettings(port=first.port), plane.picture, plane.changed, 45.0)
    try:
        with pytest.raises(ConflictError, match=r"set keda\.host or keda\.port"):
            await second.start()
    finally:
        await second.close()
        await first.close()


async def test_an_unreadable_certificate_is_named(plane: Plane, tmp_path: Path) -> None:
    settings = KedaSettings(port=0, cert_file=tmp_path / "none.pem", key_file=tmp_path / "none.key")
    with pytest.raises(ConfigurationError, match=r"keda\.key_file: .*none\.key.*readable PEM file"):
        await ExternalScaler(settings, plane.picture, plane.changed, 45.0).start()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
async def test_with_an_authority_only_its_clients_are_answered(plane: Plane, tmp_path: Path) -> None:
    def openssl(*given: str) -> None:
        subprocess.run(("openssl", *given), cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name in ("server", "client"):
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", *subject)
        signed = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-copy_extensions")
        openssl("x509", "-req", *signed, "copy")
    settings = KedaSettings("127.0.0.1", 0, *(tmp_path / name for name in ("server.pem", "server.key", "ca.pem")))
    scaler = ExternalScaler(settings, plane.picture, plane.changed, 45.0)
    await scaler.start()
    ca, key, chain = ((tmp_path / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    try:
        known, unknown = grpc.ssl_channel_credentials(ca, key, chain), grpc.ssl_channel_credentials(ca)
        async with aio.secure_channel(f"localhost:{scaler.port}", known) as channel:
            assert (await Client(channel).IsActive(REF)).result
        async with aio.secure_channel(f"localhost:{scaler.port}", unknown) as channel:
            with pytest.raises(aio.AioRpcError) as refused:
                await Client(channel).IsActive(REF)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await scaler.close()
