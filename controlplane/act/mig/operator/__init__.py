"""MIG layouts of nodes whose GPUs NVIDIA's GPU operator cuts: by a label of the node, which mig-manager follows."""
