"""grafana-client brings a fork of urllib3; clients of Kubernetes and Prometheus keep the one they are tested with."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import urllib3

from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.token_file import read_token
from controlplane.domain.fleet import Phase
from controlplane.domain.routing import GrafanaSettings
from controlplane.domain.sources import PrometheusSpec
from controlplane.publish.grafana.annotations import Annotation
from controlplane.publish.grafana.client import Grafana
from tests.grafana_server import TOKEN, grafana_served
from tests.kube.cluster import Cluster
from tests.kube.watching import by_pods, watching
from tests.page_server import pages_served


async def test_all_three_clients_ask_in_one_process_and_urllib3_is_itself(cluster: Cluster, tmp_path: Path) -> None:
    import niquests.packages

    assert vars(urllib3)["__version__"] == metadata.version("urllib3"), (
        "install with URLLIB3_NO_OVERRIDE=1, as the Makefile does"
    )
    assert niquests.packages.urllib3.__name__ == "urllib3_future"

    token = tmp_path / "token"
    token.write_text(TOKEN)
    cluster.pod("a", ip="10.0.0.7", ready=True)
    with grafana_served() as server, pages_served() as pages:
        pages.by_path["/api/v1/query?query=up&timeout=5.000"] = (
            '{"status": "success", "data": {"resultType": "vector",'
            ' "result": [{"metric": {"job": "a"}, "value": [1700000000, "1"]}]}}'
        )
        grafana = Grafana(GrafanaSettings(server.url, token, "http://prometheus:9090"), read_token)
        prometheus = Prometheus(PrometheusSpec("p", f"http://{pages.address}", timeout_s=5.0))
        async with watching(by_pods(cluster)) as seen:
            grafana.annotate(Annotation(1_700_000_000.0, "loaded", ("controlplane",)))
            answer = await prometheus.query("up")
            cluster.pod("b", ip="10.0.0.8", ready=True)
            await seen.until_phases({"a": Phase.READY, "b": Phase.READY})
        grafana.close()
        prometheus.close()
    assert server.annotations[0]["text"] == "loaded"
    assert answer.samples == [({"job": "a"}, 1.0)]
