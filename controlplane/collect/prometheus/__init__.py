"""What a Prometheus tells: servers, targets, ratios."""
