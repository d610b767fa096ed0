"""Discovery on Kubernetes while the API server fails: ours, since a real one cannot be made to."""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from kubernetes.client.exceptions import ApiException

from controlplane.collect.kubernetes.members import pod_members, read_pod
from controlplane.collect.kubernetes.watch import Pace
from controlplane.domain.fleet import Phase
from controlplane.domain.signal import Known, Missing, Stale
from tests.kube.cluster import Cluster
from tests.kube.objects import place
from tests.kube.server import ApiServer
from tests.kube.watching import MAX_AGE_S, Watching, between, by_pods, by_services, watching


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


async def test_close_waits_for_no_hung_call(api_server: ApiServer, cluster: Cluster) -> None:
    patient = Pace(timeout_s=60.0, watch_s=60)
    under_test = Watching([by_pods(cluster), by_services(cluster, name="b")], patient)
    api_server.hang("list", "services")
    starting = asyncio.create_task(under_test.discovery.start(under_test.changed))
    await under_test.until(lambda: len(api_server.watches) == 3)
    starting.cancel()
    began = time.monotonic()
    await under_test.discovery.close()
    assert time.monotonic() - began < 20
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("controlplane-kubernetes")]
    assert left == ["controlplane-kubernetes-b-services"]
    api_server.heal()


async def test_start_waits_for_a_hung_server_no_longer_than_it_may(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.hang()
    pace = Pace(timeout_s=0.3, watch_s=30, first_retry_s=0.05, longest_retry_s=0.2)
    began = time.monotonic()
    async with watching(by_pods(cluster), pace=pace) as seen:
        assert time.monotonic() - began < 20
        assert seen.signal() == Missing(f"cannot list pods in namespace {cluster.namespace}: no answer within 0.3 s")


async def test_a_connection_that_died_silently_is_noticed(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    pace = Pace(timeout_s=0.5, watch_s=1, first_retry_s=0.05, longest_retry_s=0.2)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await seen.until(lambda: len(api_server.watches) == 1)
        api_server.hang("watch")
        with api_server.objects.changed:  # no event and no end: the watch under way cannot go on without this lock
            async with asyncio.timeout(30):
                while not isinstance(signal := seen.signal(), Stale):
                    await asyncio.sleep(0.05)
                    seen.now += MAX_AGE_S + 1
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
    async with asyncio.timeout(30):
        while api_server.watches:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
    assert seen.changes == changes, "nobody is left who could tell"
