"""Discovery on Kubernetes against an API server: ours, or the real one that KUBECONFIG_TEST names."""

import asyncio
import itertools
import random
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.config import incluster_config

from controlplane.collect.kubernetes import KubernetesDiscovery
from controlplane.collect.kubernetes_members import pod_members, read_pod
from controlplane.collect.kubernetes_watch import Pace
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, Ports, ServerKind, WorkloadSpec
from controlplane.domain.signal import Known, Missing, Signal, Stale
from tests.kube.cluster import Cluster, endpoint
from tests.kube.fixtures import TOKEN
from tests.kube.objects import place
from tests.kube.server import ApiServer, Request

PACE = Pace(timeout_s=2.0, watch_s=30, first_retry_s=0.05, longest_retry_s=0.2)
PORTS = Ports(8000, 0, 8000)
MAX_AGE_S = 60.0


def by_pods(cluster: Cluster, selector: str = "app=llm", name: str = "llama") -> WorkloadSpec:
    query = KubernetesQuery(cluster.namespace, pods=selector, kubeconfig=str(cluster.kubeconfig))
    return WorkloadSpec(name, ServerKind.VLLM, query, PORTS)


def by_services(cluster: Cluster, selector: str = "tier=llm", name: str = "llama") -> WorkloadSpec:
    query = KubernetesQuery(cluster.namespace, services=selector, kubeconfig=str(cluster.kubeconfig))
    return WorkloadSpec(name, ServerKind.VLLM, query, PORTS)


class Watching:
    """A discovery under test, on a clock that the test sets."""

    def __init__(self, workloads: Iterable[WorkloadSpec], pace: Pace = PACE) -> None:
        self.now = 1000.0
        self.changes = 0
        self.discovery = KubernetesDiscovery(workloads, clock=lambda: self.now, max_age_s=MAX_AGE_S, pace=pace)

    def changed(self) -> None:
        self.changes += 1

    def signal(self, workload: str = "llama") -> Signal[tuple[Member, ...]]:
        return self.discovery.members(self.now)[workload]

    def phases(self, workload: str = "llama") -> dict[str, Phase]:
        signal = self.signal(workload)
        assert isinstance(signal, Known), signal
        return {member.server.name.partition("/")[2]: member.phase for member in signal.value}

    async def until(self, wanted: Callable[[], bool], within_s: float = 10.0) -> None:
        ends = time.monotonic() + within_s
        while not wanted():
            assert time.monotonic() < ends, self.discovery.members(self.now)
            await asyncio.sleep(0.01)

    async def until_phases(self, expected: dict[str, Phase], workload: str = "llama") -> None:
        await self.until(lambda: self.phases(workload) == expected)


@asynccontextmanager
async def watching(*workloads: WorkloadSpec, pace: Pace = PACE) -> AsyncIterator[Watching]:
    under_test = Watching(workloads, pace)
    await under_test.discovery.start(under_test.changed)
    try:
        yield under_test
    finally:
        await under_test.discovery.close()


def between(requests: list[Request]) -> list[float]:
    """Seconds from each to the next."""
    return [later.at - earlier.at for earlier, later in itertools.pairwise(requests)]


async def test_pods_come_become_ready_and_go(cluster: Cluster) -> None:
    uid = cluster.pod("a", ip="10.0.0.7", ready=True)
    async with watching(by_pods(cluster)) as seen:
        assert seen.phases() == {"a": Phase.READY}
        signal = seen.signal()
        assert isinstance(signal, Known)
        (member,) = signal.value
        assert (member.server.name, member.server.http, member.pod_uid) == ("llama/a", "http://10.0.0.7:8000", uid)
        assert member.ready_at is not None

        cluster.pod("b")
        cluster.pod("other", {"app": "other"}, ip="10.0.0.9", ready=True)
        cluster.runs("b", "10.0.0.8")
        await seen.until_phases({"a": Phase.READY, "b": Phase.STARTING})
        cluster.ready("b")
        await seen.until_phases({"a": Phase.READY, "b": Phase.READY})
        cluster.delete("a")
        await seen.until_phases({"a": Phase.TERMINATING, "b": Phase.READY})
        cluster.gone("a")
        await seen.until_phases({"b": Phase.READY})
        cluster.ends("b")
        await seen.until_phases({})
        assert seen.changes >= 6


async def test_a_pod_that_no_longer_has_the_labels_is_no_member(cluster: Cluster) -> None:
    cluster.pod("a", {"app": "llm", "canary": "no"}, ip="10.0.0.7", ready=True)
    cluster.pod("b", {"app": "llm"}, ip="10.0.0.8", ready=True)
    async with watching(by_pods(cluster, "app in (llm, bert), canary notin (yes)")) as seen:
        await seen.until_phases({"a": Phase.READY, "b": Phase.READY})
        cluster.label("a", {"canary": "yes"})
        await seen.until_phases({"b": Phase.READY})


async def test_a_namespace_without_pods_is_known_to_have_none(cluster: Cluster) -> None:
    async with watching(by_pods(cluster)) as seen:
        assert seen.signal() == Known((), seen.now)


async def test_members_stay_known_over_the_end_of_a_watch(cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    pace = Pace(timeout_s=2.0, watch_s=1, first_retry_s=0.05, longest_retry_s=0.2)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await asyncio.sleep(1.3)
        changes = seen.changes
        seen.now += 10 * MAX_AGE_S
        await seen.until_phases({"a": Phase.READY})
        assert seen.changes == changes
        cluster.ready("a", ready=False)
        await seen.until_phases({"a": Phase.STARTING})


async def test_services_give_the_pods_behind_them_once_each(cluster: Cluster) -> None:
    uid = cluster.pod("p", {}, ip="10.0.0.7", ready=True)
    for service in ("a", "b"):
        cluster.service(service, {"tier": "llm"})
        cluster.endpoints(service, [endpoint("10.0.0.7", "p", uid, ready=True, serving=True)])
    cluster.service("other", {"tier": "web"})
    cluster.endpoints("other", [endpoint("10.0.0.9", ready=True)])
    async with watching(by_services(cluster)) as seen:
        assert seen.phases() == {"p": Phase.READY}
        signal = seen.signal()
        assert isinstance(signal, Known)
        assert signal.value[0].created_at is not None
        assert signal.value[0].pod_uid == uid

        cluster.endpoints("a", [endpoint("10.0.0.8", ready=False), endpoint("10.0.0.7", "p", uid, ready=True)])
        await seen.until_phases({"10.0.0.8": Phase.STARTING, "p": Phase.READY})
        cluster.no_service("a")
        await seen.until_phases({"p": Phase.READY})
        cluster.service("c", {"tier": "llm"})
        cluster.endpoints("c", [endpoint("fd00::9", ready=True)], family="IPv6")
        await seen.until_phases({"p": Phase.READY, "fd00::9": Phase.READY})


async def test_workloads_are_told_apart(cluster: Cluster) -> None:
    cluster.pod("a", {"app": "x"}, ip="10.0.0.7", ready=True)
    cluster.pod("b", {"app": "y"}, ip="10.0.0.8")
    async with watching(by_pods(cluster, "app=x", "x"), by_pods(cluster, "app=y", "y")) as seen:
        assert seen.phases("x") == {"a": Phase.READY}
        assert seen.phases("y") == {"b": Phase.STARTING}


async def test_more_pods_than_a_list_has_on_a_page_are_all_members(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.collect.kubernetes_api.PAGE", 2)
    for number in range(5):
        cluster.pod(f"p{number}", ip=f"10.0.0.{number}", ready=True)
    async with watching(by_pods(cluster)) as seen:
        assert len(seen.phases()) == 5


async def test_a_forgotten_version_is_listed_anew_and_what_went_meanwhile_goes_at_once(
    api_server: ApiServer, cluster: Cluster
) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    cluster.pod("b", ip="10.0.0.8", ready=True)
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        lists = len(api_server.asked("list", "pods"))
        api_server.stop()
        api_server.objects.delete(place("pods", cluster.namespace, "a"), 0)
        api_server.objects.compact()
        assert seen.phases() == {"a": Phase.READY, "b": Phase.READY}
        api_server.start()
        await seen.until_phases({"b": Phase.READY})
        assert len(api_server.asked("list", "pods")) == lists + 1


async def test_gone_as_an_event_and_as_a_status_lists_anew(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.expire_watches()
        await seen.until(lambda: len(api_server.asked("list", "pods")) == 2)
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.answer(410, verb="watch", times=1)
        api_server.drop_watches()
        await seen.until(lambda: len(api_server.asked("list", "pods")) == 3)
        cluster.ready("a", ready=False)
        await seen.until_phases({"a": Phase.STARTING})


async def test_a_version_that_is_always_gone_is_not_asked_for_in_a_rush(
    api_server: ApiServer, cluster: Cluster
) -> None:
    api_server.answer(410, verb="watch")
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.asked("list", "pods")) >= 4)
        waits = between(api_server.asked("list", "pods")[:4])
        assert all(wait >= least for wait, least in zip(waits, (0.0, 0.05, 0.1), strict=True))


async def test_a_dropped_watch_goes_on_where_it_was(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.drop_watches()
        cluster.ready("a")
        await seen.until_phases({"a": Phase.READY})
        assert len(api_server.asked("list", "pods")) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_mishaps_the_members_are_those_that_the_server_has(
    api_server: ApiServer, cluster: Cluster, seed: int
) -> None:
    chance, made, names = random.Random(seed), itertools.count(), [""]  # noqa: S311 - the same each time
    spec = by_pods(cluster)
    happenings: list[Callable[[], object]] = [
        lambda: names.append(f"p{next(made)}"),
        lambda: cluster.pod(names[-1], ip="10.0.0.7"),
        lambda: cluster.ready(chance.choice(names), ready=chance.random() < 0.5),
        lambda: cluster.delete(chance.choice(names)),
        lambda: cluster.gone(names.pop(chance.randrange(1, len(names)))),
        lambda: cluster.label(chance.choice(names), {"app": chance.choice(("llm", "other"))}),
        lambda: cluster.ends(chance.choice(names)),
    ]
    mishaps: list[Callable[[], object]] = [
        api_server.drop_watches,
        api_server.expire_watches,
        api_server.objects.compact,
        lambda: api_server.answer(chance.choice((410, 429, 500)), verb=chance.choice(("list", "watch")), times=1),
        lambda: api_server.answer(200, verb="watch", body=b'{"type": "ADDED"\n', times=1),
    ]
    async with watching(spec) as seen:
        for _ in range(150):
            with suppress(ApiException, ValueError):  # one that is asked of a pod that is not there
                chance.choice(happenings if chance.random() < 0.8 else mishaps)()
            await asyncio.sleep(0)
        api_server.heal()
        cluster.pod("last", ip="10.0.0.9")
        found, _ = api_server.objects.all(place("pods", cluster.namespace))
        chosen = [pod for pod in found if pod["metadata"]["labels"]["app"] == "llm"]
        truth = pod_members(spec, [read_pod(pod) for pod in chosen])
        assert truth
        await seen.until(lambda: seen.signal() == Known(truth, seen.now))


async def test_a_server_that_asks_for_patience_gets_it(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    api_server.answer(429, verb="list", times=1, headers={"Retry-After": "1"})
    async with watching(by_pods(cluster)) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert "asks for fewer requests (429)" in signal.why
        await seen.until(lambda: isinstance(seen.signal(), Known))
        first, second = api_server.asked("list", "pods")
        assert (first.status, second.status) == (429, 200)
        assert second.at - first.at >= 1.0


async def test_members_stay_while_the_server_fails_and_age_into_stale(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        changes = seen.changes
        api_server.answer(500)
        api_server.drop_watches()
        await seen.until(lambda: len(api_server.asked("watch", "pods")) > 3)
        seen_at = seen.now
        seen.now += MAX_AGE_S
        assert seen.phases() == {"a": Phase.READY}
        seen.now += 1.0
        signal = seen.signal()
        assert isinstance(signal, Stale)
        assert (len(signal.value), signal.age_s, signal.observed_at) == (1, MAX_AGE_S + 1.0, seen_at)
        assert signal.why.startswith(f"cannot watch pods in namespace {cluster.namespace}: the API server answered 500")
        assert seen.changes == changes
        api_server.heal()
        await seen.until(lambda: isinstance(seen.signal(), Known))
        assert seen.phases() == {"a": Phase.READY}


async def test_attempts_become_rarer(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.answer(503, verb="list")
    pace = Pace(timeout_s=2.0, watch_s=30, first_retry_s=0.1, longest_retry_s=0.4)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await seen.until(lambda: len(api_server.asked("list", "pods")) >= 5)
        waits = between(api_server.asked("list", "pods")[:5])
        assert all(wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2, 0.2), strict=True))


async def test_an_api_server_that_is_not_there_is_told_and_waited_for(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    api_server.stop()
    async with watching(by_pods(cluster)) as seen:
        why = f"cannot list pods in namespace {cluster.namespace}: connection refused"
        assert seen.signal() == Missing(why)
        api_server.start()
        await seen.until(lambda: isinstance(seen.signal(), Known))
        assert seen.phases() == {"a": Phase.READY}


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
    assert time.monotonic() - began < 0.9


async def test_an_api_server_with_another_certificate_is_not_trusted(
    in_cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate(tmp_path, "another")[1]))
    async with watching(IN_CLUSTER) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert "no TLS connection" in signal.why


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"<html>", "not understood (JSONDecodeError)"), (b"{}", "not understood (KeyError)")],
)
async def test_an_answer_that_is_no_list_is_an_error_and_no_empty_list(
    api_server: ApiServer, cluster: Cluster, body: bytes, why: str
) -> None:
    api_server.answer(200, verb="list", body=body)
    async with watching(by_pods(cluster)) as seen:
        signal = seen.signal()
        assert isinstance(signal, Missing)
        assert why in signal.why


async def test_a_watch_that_always_ends_at_once_is_not_begun_in_a_rush(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.answer(200, verb="watch", body=b"")
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.asked("watch", "pods")) >= 4)
        waits = between(api_server.asked("watch", "pods")[:4])
        assert all(wait >= least for wait, least in zip(waits, (0.025, 0.05, 0.1), strict=True))
        seen.now += MAX_AGE_S + 1
        signal = seen.signal()
        assert isinstance(signal, Stale)
        assert "ends at once" in signal.why


async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    def of(path: Path) -> WorkloadSpec:
        query = KubernetesQuery("ml", pods="a", kubeconfig=str(path))
        return WorkloadSpec(path.name, ServerKind.VLLM, query, PORTS)

    (tmp_path / "odd").write_text(f"users: [{{name: a, user: {{token: {TOKEN}}}]: : x")
    (tmp_path / "empty").write_text("{}")
    async with watching(of(tmp_path / "absent"), of(tmp_path / "odd"), of(tmp_path / "empty")) as seen:
        for name in ("absent", "odd", "empty"):
            signal = seen.signal(name)
            assert isinstance(signal, Missing)
            assert "cannot read the configuration of Kubernetes" in signal.why
            assert TOKEN not in signal.why


async def test_close_waits_for_no_hung_call(api_server: ApiServer, cluster: Cluster) -> None:
    patient = Pace(timeout_s=60.0, watch_s=60)
    under_test = Watching([by_pods(cluster), by_services(cluster, name="b")], patient)
    api_server.hang("list", "services")
    starting = asyncio.create_task(under_test.discovery.start(under_test.changed))
    await under_test.until(lambda: len(api_server.watches) == 3)
    starting.cancel()
    began = time.monotonic()
    await under_test.discovery.close()
    assert time.monotonic() - began < 2.0
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("controlplane-kubernetes")]
    assert left == ["controlplane-kubernetes-b-services"]
    api_server.heal()


async def test_start_waits_for_a_hung_server_no_longer_than_it_may(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.hang()
    pace = Pace(timeout_s=0.3, watch_s=30, first_retry_s=0.05, longest_retry_s=0.2)
    began = time.monotonic()
    async with watching(by_pods(cluster), pace=pace) as seen:
        assert time.monotonic() - began < 2.0
        assert seen.signal() == Missing(f"cannot list pods in namespace {cluster.namespace}: no answer within 0.3 s")


async def test_a_connection_that_died_silently_is_noticed(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    pace = Pace(timeout_s=0.5, watch_s=1, first_retry_s=0.05, longest_retry_s=0.2)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.hang("watch")
        with api_server.objects.changed:  # no event and no end: the watch under way cannot go on without this lock
            await asyncio.sleep(2.0)
            seen.now += MAX_AGE_S + 1
            signal = seen.signal()
            assert isinstance(signal, Stale)
            assert signal.why == f"cannot watch pods in namespace {cluster.namespace}: no answer within 1.5 s"
        api_server.heal()
        await seen.until(lambda: isinstance(seen.signal(), Known))


async def test_a_watch_that_is_not_answered_is_no_watch(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    pace = Pace(timeout_s=30.0, watch_s=1)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.hang("watch")
        await seen.until(lambda: not api_server.watches)
        await asyncio.sleep(0.1)
        seen.now += MAX_AGE_S + 1
        signal = seen.signal()
        assert isinstance(signal, Stale)
        assert signal.why == "the API server does not answer"


async def test_nothing_is_told_after_close(api_server: ApiServer, cluster: Cluster) -> None:
    async with watching(by_pods(cluster)) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
    changes = seen.changes
    cluster.pod("a", ip="10.0.0.7")
    await asyncio.sleep(0.1)
    assert seen.changes == changes
    assert not api_server.watches


def test_the_client_is_not_imported_before_a_workload_asks_for_it() -> None:
    code = "import sys, controlplane.collect.kubernetes, controlplane.cli.main; print('kubernetes' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"
