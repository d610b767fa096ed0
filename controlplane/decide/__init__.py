"""From a snapshot to a plan: pure, no I/O, no clock, no logging."""
