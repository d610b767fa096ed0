"""The production loop as one more policy of the simulator: loop/tick and decide, unchanged, on simulated pages."""
