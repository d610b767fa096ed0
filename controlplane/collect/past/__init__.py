"""What a Prometheus remembers, read as if it were live."""
