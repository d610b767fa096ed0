"""Replicas on Kubernetes."""
