"""How many replicas a workload needs: its demand in replicas, ahead by the time that a new one takes to start.

`flow` sums up what its servers told, `tokens` learns what a vLLM-like replica can do and `batches` a Triton-like one,
`ahead` gives the demand when capacity asked for now is there, `pool` decides. docs/why/replicas.md tells why it is so.
"""
