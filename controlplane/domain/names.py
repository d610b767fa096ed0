"""Every metric, label and rule name that the product itself exports. Nowhere else is one spelled out."""

from __future__ import annotations

from controlplane.domain.observation import Counter, HostGauge

PREFIX = "controlplane"

# labels
MODEL = "model"
SERVER = "server"
OBJECTIVE = "objective"
WINDOW = "window"
STEP = "step"
STATUS = "status"
BINDING = "binding"
BOUND = "bound"
GPU = "gpu"
KIND = "kind"
NODE = "node"
INDEX = "index"
NAME = "name"
REASON = "reason"
SIGNAL = "signal"
SLICE = "slice"
GPU_INSTANCE = "gpu_instance"
COMPUTE_INSTANCE = "compute_instance"
PROFILE = "profile"
START = "start"
SIZE = "size"
PID = "pid"
OUTCOME = "outcome"
PHASE = "phase"
RESULT = "result"
STATE = "state"
USE = "use"
PORTS = "ports"
POD_UID = "pod_uid"

# models
MODEL_INSTANCES = f"{PREFIX}_model_instances"
MODEL_DESIRED_INSTANCES = f"{PREFIX}_model_desired_instances"
MODEL_LOADED = f"{PREFIX}_model_loaded"
MODEL_DEMAND = f"{PREFIX}_model_demand_per_second"
MODEL_CAPACITY = f"{PREFIX}_model_capacity_per_second"
MODEL_PENDING = f"{PREFIX}_model_pending_requests"
MODEL_PENDING_BY_REASON = f"{PREFIX}_model_pending_requests_by_reason"
MODEL_RUNNING = f"{PREFIX}_model_running_requests"
MODEL_KV_CACHE_USAGE = f"{PREFIX}_model_kv_cache_usage_ratio"
MODEL_KV_CACHE_TOKENS = f"{PREFIX}_model_kv_cache_capacity_tokens"
MODEL_SLEEP = f"{PREFIX}_model_sleep"
MODEL_ADAPTERS = f"{PREFIX}_model_adapters"
MODEL_ADAPTER_SLOTS = f"{PREFIX}_model_adapter_slots"
MODEL_LOAD_S = f"{PREFIX}_model_load_duration_seconds"
MODEL_GPU_INFO = f"{PREFIX}_model_gpu_info"
MODEL_COUNTERS = {counter: f"{PREFIX}_model_{counter.value}" for counter in Counter}
MODEL_DECISION = f"{PREFIX}_model_decision"
MODEL_IN_FLIGHT = f"{PREFIX}_model_actions_in_flight"
OBJECTIVE_TARGET = f"{PREFIX}_objective_target_ratio"
OBJECTIVE_ATTAINMENT = f"{PREFIX}_objective_attainment_ratio"
OBJECTIVE_BUDGET_LEFT = f"{PREFIX}_objective_budget_left_ratio"
OBJECTIVE_BURN_RATE = f"{PREFIX}_objective_burn_rate"
OBJECTIVE_COVERAGE = f"{PREFIX}_objective_coverage_ratio"

# servers and GPUs
SERVER_LIVE = f"{PREFIX}_server_live"
SERVER_READING_AGE = f"{PREFIX}_server_reading_age_seconds"
SERVER_HOST = {gauge: f"{PREFIX}_server_{gauge.value}" for gauge in HostGauge}
GPU_UTILISATION = f"{PREFIX}_gpu_utilisation_ratio"
GPU_SM_UTILISATION = f"{PREFIX}_gpu_sm_utilisation_ratio"
GPU_TENSOR_UTILISATION = f"{PREFIX}_gpu_tensor_utilisation_ratio"
GPU_BANDWIDTH_UTILISATION = f"{PREFIX}_gpu_memory_bandwidth_utilisation_ratio"
GPU_MEMORY_USED = f"{PREFIX}_gpu_memory_used_bytes"
GPU_MEMORY_TOTAL = f"{PREFIX}_gpu_memory_total_bytes"
GPU_INFO = f"{PREFIX}_gpu_info"
GPU_POWER = f"{PREFIX}_gpu_power_watts"
GPU_TEMPERATURE = f"{PREFIX}_gpu_temperature_celsius"
GPU_SM_CLOCK = f"{PREFIX}_gpu_sm_clock_hertz"
GPU_THROTTLED = f"{PREFIX}_gpu_throttled"
GPU_ECC_UNCORRECTED = f"{PREFIX}_gpu_ecc_uncorrected_errors"
GPU_LAST_XID = f"{PREFIX}_gpu_last_xid"
GPU_PROCESSES = f"{PREFIX}_gpu_processes"
GPU_MIG_ENABLED = f"{PREFIX}_gpu_mig_enabled"
GPU_SLICES = f"{PREFIX}_gpu_slices"
GPU_SLICE_INFO = f"{PREFIX}_gpu_slice_info"
GPU_SLICE_UTILISATION = f"{PREFIX}_gpu_slice_utilisation_ratio"
GPU_SLICE_SM_UTILISATION = f"{PREFIX}_gpu_slice_sm_utilisation_ratio"
GPU_SLICE_TENSOR_UTILISATION = f"{PREFIX}_gpu_slice_tensor_utilisation_ratio"
GPU_SLICE_BANDWIDTH_UTILISATION = f"{PREFIX}_gpu_slice_memory_bandwidth_utilisation_ratio"
GPU_SLICE_MEMORY_USED = f"{PREFIX}_gpu_slice_memory_used_bytes"
GPU_SLICE_MEMORY_TOTAL = f"{PREFIX}_gpu_slice_memory_total_bytes"

# the agent's page alone
AGENT_NVML_UP = f"{PREFIX}_agent_nvml_up"
GPU_PROCESS_INFO = f"{PREFIX}_gpu_process_info"
GPU_PROCESS_MEMORY = f"{PREFIX}_gpu_process_memory_used_bytes"
GPU_MISSING = f"{PREFIX}_gpu_missing"


def of_process(label: str, pid: int) -> str:
    """How GPU_MISSING names what is not known of a process."""
    return f"{label} of {pid}"


# decisions and people
ACTIONS = f"{PREFIX}_actions"
ACTION_DURATION = f"{PREFIX}_action_duration_seconds"
OVERRIDES_ACTIVE = f"{PREFIX}_overrides_active"
FREEZES_ACTIVE = f"{PREFIX}_freezes_active"
OVERRIDE_EXPIRES = f"{PREFIX}_override_expires_timestamp_seconds"

# the loop
TICKS = f"{PREFIX}_ticks"
TICKS_UNWRITTEN = f"{PREFIX}_ticks_unwritten"
TICK_DURATION = f"{PREFIX}_tick_duration_seconds"
TICKS_SKIPPED = f"{PREFIX}_ticks_skipped"
TICK_LAST = f"{PREFIX}_tick_last_timestamp_seconds"
