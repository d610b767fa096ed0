"""What is wrong, said to who must know: texts, Prometheus rules, routes, and alerts sent directly."""
