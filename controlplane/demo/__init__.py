"""A real Triton on this machine, models that wait as a GPU would, and load, for the demo, the tests and the bench."""
