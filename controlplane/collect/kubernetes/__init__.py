"""Servers found on Kubernetes."""
