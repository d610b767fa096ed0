"""What tests rely on in an API server, held against ours and, with KUBECONFIG_TEST, against a real one."""

import time
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.kube.cluster import Cluster
from tests.kube.selectors import selector
from tests.kube.server import ApiServer

COST = "controller.kubernetes.io/pod-deletion-cost"
MERGE = "application/merge-patch+json"


def names(cluster: Cluster, label_selector: str) -> list[str]:
    pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector=label_selector)
    return [pod.metadata.name for pod in pods.items]


def test_a_list_is_chosen_by_equality_and_by_sets(cluster: Cluster) -> None:
    cluster.pod("a", {"app": "x", "tier": "front"})
    cluster.pod("b", {"app": "y"})
    cluster.pod("c", {"app": "z", "tier": "back"})
    for label_selector, expected in {
        "": ["a", "b", "c"],
        "app=x": ["a"],
        "app==x,tier=front": ["a"],
        "app!=x": ["b", "c"],
        "tier!=front": ["b", "c"],
        "app in (x, y)": ["a", "b"],
        "app notin (x,y),tier": ["c"],
        "!tier": ["b"],
        "tier in (front,back),app!=z": ["a"],
    }.items():
        assert names(cluster, label_selector) == expected, label_selector


def test_a_selector_that_cannot_be_read_is_a_bad_request(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as refused:
        names(cluster, "app in x")
    assert refused.value.status == 400


def test_selectors_match_as_documented() -> None:
    assert selector("")({})
    assert selector("a in (b,),c")({"a": "", "c": "d"})
    with pytest.raises(ValueError, match="parse"):
        selector("a=b=c")


def test_a_list_is_given_in_pages_that_are_one_snapshot(cluster: Cluster) -> None:
    for name in ("a", "b", "c"):
        cluster.pod(name)
    first = cluster.core.list_namespaced_pod(cluster.namespace, limit=2)
    cluster.pod("d")
    second = cluster.core.list_namespaced_pod(cluster.namespace, limit=2, _continue=first.metadata._continue)
    assert [p.metadata.name for p in (*first.items, *second.items)] == ["a", "b", "c"]
    assert not second.metadata._continue


def test_the_same_name_twice_is_a_conflict_and_so_is_an_old_version(cluster: Cluster) -> None:
    cluster.service("s", {"app": "x"})
    with pytest.raises(ApiException) as refused:
        cluster.service("s", {"app": "x"})
    assert refused.value.status == 409
    old = cluster.core.read_namespaced_service("s", cluster.namespace)
    cluster.core.patch_namespaced_service(
        "s", cluster.namespace, {"metadata": {"labels": {"b": "c"}}}, _content_type=MERGE
    )
    old.metadata.labels = {"app": "y"}
    with pytest.raises(ApiException) as refused:
        cluster.core.replace_namespaced_service("s", cluster.namespace, old)
    assert refused.value.status == 409
    new = cluster.core.read_namespaced_service("s", cluster.namespace)
    assert new.metadata.labels == {"app": "x", "b": "c"}
    assert new.metadata.uid == old.metadata.uid
    assert new.metadata.resource_version != old.metadata.resource_version


def test_writing_what_is_there_changes_no_version(cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    before = cluster.core.read_namespaced_pod("a", cluster.namespace).metadata.resource_version
    cluster.runs("a", "10.0.0.7")
    assert cluster.core.read_namespaced_pod("a", cluster.namespace).metadata.resource_version == before


def test_a_generation_counts_changes_of_the_spec_only(cluster: Cluster) -> None:
    cluster.scaled()

    def patched(body: dict[str, Any]) -> Any:
        where = ("apps", "v1", cluster.namespace, "deployments", "llama")
        cluster.any.patch_namespaced_custom_object(*where, body, _content_type=MERGE)
        return cluster.read("apps/v1", "deployments", "llama")["metadata"]

    first = cluster.read("apps/v1", "deployments", "llama")["metadata"]["generation"]
    labelled = patched({"metadata": {"labels": {"a": "b"}}})
    assert (labelled["generation"], labelled["labels"]) == (first, {"a": "b"})
    assert patched({"spec": {"paused": True}})["generation"] == first + 1


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"labels": {"controlplane/traffic": "not ok"}}, "a valid label must"),
        ({"labels": {"a/b/c": "on"}}, "a valid label key must"),
        ({"annotations": {COST: "1.5"}}, "must be a 32bit integer"),
        ({"annotations": {COST: "+5"}}, "must be a 32bit integer"),
        ({"annotations": {COST: "2147483648"}}, "must be a 32bit integer"),
    ],
)
def test_labels_and_deletion_costs_have_a_form(cluster: Cluster, meta: dict[str, Any], words: str) -> None:
    cluster.pod("a")
    with pytest.raises(ApiException, match=words) as refused:
        cluster.core.patch_namespaced_pod("a", cluster.namespace, {"metadata": meta}, _content_type=MERGE)
    assert refused.value.status == 422


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_selector_matches_the_template_and_stays_what_it_is(cluster: Cluster, kind: str) -> None:
    with pytest.raises(ApiException, match="`selector` does not match template `labels`") as refused:
        cluster.scaled(kind=kind, selects={"controlplane/traffic": "on"})
    assert refused.value.status == 422
    on = {"controlplane/traffic": "on"}
    cluster.scaled(kind=kind, more=on)
    where = ("apps", "v1", cluster.namespace, f"{kind.lower()}s", "llama")
    body = {"spec": {"selector": {"matchLabels": on}}}
    with pytest.raises(ApiException) as refused:
        cluster.any.patch_namespaced_custom_object(*where, body, _content_type=MERGE)
    assert refused.value.status == 422
    assert cluster.read("apps/v1", f"{kind.lower()}s", "llama")["spec"]["selector"]["matchLabels"] == {"app": "llama"}


def test_a_pod_on_a_node_goes_only_when_its_kubelet_says_so(cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7")
    cluster.delete("a")
    going = cluster.core.read_namespaced_pod("a", cluster.namespace)
    assert going.metadata.deletion_timestamp is not None
    assert going.metadata.deletion_grace_period_seconds == 30
    cluster.gone("a")
    with pytest.raises(ApiException) as missing:
        cluster.core.read_namespaced_pod("a", cluster.namespace)
    assert missing.value.status == 404


def test_an_object_with_a_finaliser_stays_until_that_is_taken_off(cluster: Cluster) -> None:
    cluster.service("s", {})
    for_now = {"metadata": {"finalizers": ["example.com/wait"]}}
    cluster.core.patch_namespaced_service("s", cluster.namespace, for_now, _content_type=MERGE)
    cluster.no_service("s")
    assert cluster.core.read_namespaced_service("s", cluster.namespace).metadata.deletion_timestamp is not None
    done = {"metadata": {"finalizers": None}}
    cluster.core.patch_namespaced_service("s", cluster.namespace, done, _content_type=MERGE)
    with pytest.raises(ApiException) as missing:
        cluster.core.read_namespaced_service("s", cluster.namespace)
    assert missing.value.status == 404


def test_a_watch_tells_all_since_a_version_as_its_selector_sees_it(cluster: Cluster) -> None:
    cluster.pod("before")
    version = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.pod("a", {"app": "x"})
    cluster.pod("b", {"app": "y"})
    cluster.label("b", {"app": "x"})
    cluster.label("a", {"tier": "front"})
    cluster.label("a", {"app": "z"})
    cluster.delete("b")
    cluster.gone("b")
    began = time.monotonic()
    told = cluster.events(version, "app=x")
    assert 0.5 < time.monotonic() - began < 20
    assert told == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("MODIFIED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "b"),
    ]


def test_a_watch_without_a_version_begins_with_what_there_is(cluster: Cluster) -> None:
    cluster.pod("a")
    assert cluster.events(None) == [("ADDED", "a")]


def test_a_watch_from_a_forgotten_version_is_told_so(api_server: ApiServer, cluster: Cluster) -> None:
    version = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.pod("a")
    api_server.objects.compact()
    with pytest.raises(ApiException) as gone:
        cluster.events(version)
    assert gone.value.status == 410


def test_who_shows_no_token_is_not_known(api_server: ApiServer, cluster: Cluster) -> None:
    api_server.token = "another"
    with pytest.raises(ApiException) as refused:
        names(cluster, "")
    assert refused.value.status == 401
