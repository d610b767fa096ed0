"""A Grafana, told of dashboards and of what happens."""
