"""Simulated pools of replicas under real load, in virtual time. Needs the extra `sim` (numpy, numba)."""
