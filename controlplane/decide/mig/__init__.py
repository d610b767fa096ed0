"""How GPUs are cut into MIG slices so that the models fit on the fewest of them."""
