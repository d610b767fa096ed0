"""One vLLM."""
