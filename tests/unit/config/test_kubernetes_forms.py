"""Names and label selectors in the configuration are those that Kubernetes takes."""

from __future__ import annotations

import pytest

from controlplane.config import parse_settings
from controlplane.config.kubernetes_forms import (
    NAMESPACE_FORM,
    OBJECT_FORM,
    SELECTOR_FORM,
    is_namespace,
    is_object_name,
    is_selector,
)
from controlplane.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    "text",
    [
        "app",
        "app=llama",
        "app==llama",
        "tier!=test",
        "app=",
        "!canary",
        "! canary",
        "app in (llama, bert)",
        "app notin(llama)",
        "app in (llama,)",
        "in in (in)",
        "size>3,size < 10",
        " app = llama , tier != test ",
        "app.kubernetes.io/name=x_1.Y,app=llama,tier in (gpu,cpu),!canary",
        "a" * 63 + "=" + "b" * 63,
    ],
)
def test_a_selector_is_taken_as_kubectl_takes_it(text: str) -> None:
    assert is_selector(text)


@pytest.mark.parametrize(
    "text",
    [
        "t in on",
        "app=(x",
        "!!",
        "!!app",
        "app=x,",
        ",app=x",
        "app=x tier=y",
        "app=x;tier=y",
        "app: x",
        "app in ()",
        "app in (  )",
        "app in (x",
        "app in x)",
        "appin (x)",
        "app===x",
        "app=x=y",
        "!app=x",
        "=x",
        "app>x",
        "app=-x",
        "a/b/c=x",
        "App.IO/a=x",
        "{app: x}",
        "app=\u00e4",
        "a" * 64,
        "app=" + "b" * 64,
        "   ",
        "app in (" + "  ,  " * 2000 + "!",
    ],
)
def test_a_selector_that_the_api_server_would_refuse_is_none(text: str) -> None:
    assert not is_selector(text)


@pytest.mark.parametrize(
    ("text", "namespace", "name"),
    [
        ("ml", True, True),
        ("7-ml", True, True),
        ("a.b-c.d", False, True),
        ("a" * 63, True, True),
        ("a" * 64, False, True),
        ("a" * 253, False, True),
        ("a" * 254, False, False),
        ("My NS", False, False),
        ("Ml", False, False),
        ("ml_1", False, False),
        ("-ml", False, False),
        ("ml-", False, False),
        ("a..b", False, False),
        ("a.-b", False, False),
        ("a/b", False, False),
        ("ml\n", False, False),
        ("", False, False),
    ],
)
def test_namespaces_are_labels_and_objects_are_names_of_dns(text: str, *, namespace: bool, name: bool) -> None:
    assert (is_namespace(text), is_object_name(text)) == (namespace, name)


def test_what_kubernetes_would_not_take_is_a_fault_with_what_it_takes() -> None:
    text = """
workloads:
  - {name: a, kind: vllm, kubernetes: {namespace: My NS, kind: Deployment, name: My Deployment, pods: t in on}}
  - {name: b, kind: vllm, kubernetes: {namespace: ml, services: "!!"}}
"""
    with pytest.raises(ConfigurationError) as raised:
        parse_settings(text, {})
    assert [(fault.path, fault.value, fault.allowed) for fault in raised.value.faults] == [
        ("workloads[0].kubernetes.name", "'My Deployment'", OBJECT_FORM),
        ("workloads[0].kubernetes.namespace", "'My NS'", NAMESPACE_FORM),
        ("workloads[0].kubernetes.pods", "'t in on'", SELECTOR_FORM),
        ("workloads[1].kubernetes.services", "'!!'", SELECTOR_FORM),
    ]
