"""How fast models are, measured: on a real server under load, or read from what benchmarks export."""
