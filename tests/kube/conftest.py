from tests.kube.fixtures import api_server, cluster, kubeconfig, rights

__all__ = ["api_server", "cluster", "kubeconfig", "rights"]
