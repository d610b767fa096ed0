"""What others read: the metrics page, alerts, dashboards."""
