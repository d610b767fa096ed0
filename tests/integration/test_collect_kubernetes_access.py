"""Discovery on Kubernetes by service accounts, kubeconfigs and rights, and without."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from controlplane.domain.fleet import KubernetesQuery, ServerKind, WorkloadSpec
from controlplane.domain.signal import Known, Missing
from tests.kube.cluster import Cluster
from tests.kube.fixtures import TOKEN
from tests.kube.server import ApiServer
from tests.kube.watching import PORTS, by_pods, by_services, watching


async def test_a_missing_right_is_named(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.forbid("list", "endpointslices")
    async with watching(by_services(cluster)) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert f"cannot list endpointslices in namespace {cluster.namespace}: forbidden" in signal.why
        assert "the service account needs get, list and watch of endpointslices in namespace" in signal.why
        assert 'User "system:serviceaccount:ml:default"' in signal.why


async def test_a_token_that_is_not_accepted_is_told_and_not_shown(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.token = "another"
    async with watching(by_pods(cluster)) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert "does not accept the credentials (401)" in signal.why
        assert TOKEN not in signal.why


async def test_a_new_token_in_the_kubeconfig_is_taken_up(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.token = "another"
    async with watching(by_pods(cluster)) as seen:
        assert isinstance(seen.signal(), Missing)
        cluster.kubeconfig.write_text(api_server.kubeconfig())
        await seen.until(lambda: isinstance(seen.signal(), Known))


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A key and a certificate of its own for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, made = folder / f"{name}.key", folder / f"{name}.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=kube -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", made], check=True, capture_output=True, timeout=60)
    return key, made


@pytest.fixture
def in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server with TLS, and what a pod is given to find it."""
    key, made = certificate(tmp_path, "kube")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made, key)
    server = ApiServer(token=TOKEN, tls=tls)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(made))
    yield server
    server.stop()


IN_CLUSTER = WorkloadSpec("llama", ServerKind.VLLM, KubernetesQuery("default", pods="app=llm"), PORTS)


async def test_inside_a_cluster_the_service_account_is_used(in_cluster: ApiServer) -> None:
    async with watching(IN_CLUSTER) as seen:
        assert seen.signal() == Known((), seen.now)
        await seen.until(lambda: len(in_cluster.watches) == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 20


async def test_an_api_server_with_another_certificate_is_not_trusted(
    in_cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate(tmp_path, "another")[1]))
    async with watching(IN_CLUSTER) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert "no TLS connection" in signal.why


async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    def of(path: Path) -> WorkloadSpec:
        query = KubernetesQuery("ml", pods="a", kubeconfig=str(path))
        return WorkloadSpec(path.name, ServerKind.VLLM, query, PORTS)

    (tmp_path / "odd").write_text(f"users: [{{name: a, user: {{token: {TOKEN}}}]: : x")
    (tmp_path / "empty").write_text("{}")
    (tmp_path / "folder").mkdir()
    reasons = {
        "absent": "No configuration found",
        "odd": "it is not a kubeconfig (ParserError)",
        "empty": "Expected key current-context",
        "folder": "is a directory",
    }
    async with watching(*(of(tmp_path / name) for name in reasons)) as seen:
        for name, why in reasons.items():
            signal = seen.signal(name)
            assert isinstance(signal, Missing)
            assert f"cannot read the configuration of Kubernetes in {tmp_path / name}: " in signal.why
            assert why in signal.why
            assert TOKEN not in signal.why
