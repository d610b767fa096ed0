"""GPUs: NVML here, agents and dcgm-exporter elsewhere."""
