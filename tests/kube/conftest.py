from tests.kube.fixtures import api_server, cluster, kubeconfig

__all__ = ["api_server", "cluster", "kubeconfig"]
