"""Observability and autoscaling control plane for GPU model serving."""
