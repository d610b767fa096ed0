"""Cutting the GPUs of this machine into MIG slices, by NVML."""
