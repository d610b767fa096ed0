"""A real TorchServe on this machine, for tests; optional."""
