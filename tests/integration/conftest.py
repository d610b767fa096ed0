from tests.alertmanager_fixtures import alertmanager, alertmanager_binary, amtool
from tests.kube.fixtures import api_server, cluster, kubeconfig
from tests.prometheus_fixtures import prometheus, prometheus_binary
from tests.rig_fixtures import module_triton_rig, rig_environment, triton_rig

__all__ = [
    "alertmanager",
    "alertmanager_binary",
    "amtool",
    "api_server",
    "cluster",
    "kubeconfig",
    "module_triton_rig",
    "prometheus",
    "prometheus_binary",
    "rig_environment",
    "triton_rig",
]
