"""MIG layouts of GPUs, changed."""
