"""Dashboards for Grafana, made from the names that the code exports."""

from controlplane.publish.dashboards.catalogue import dashboards, files

__all__ = ["dashboards", "files"]
