"""Adapters that read: serving processes, gateways, GPUs; and what happened between two readings."""
