"""Every metric, label and rule name that the product itself exports. Nowhere else is one spelled out."""

from __future__ import annotations

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

# models
MODEL_INSTANCES = f"{PREFIX}_model_instances"
MODEL_DESIRED_INSTANCES = f"{PREFIX}_model_desired_instances"
MODEL_LOADED = f"{PREFIX}_model_loaded"
MODEL_DEMAND = f"{PREFIX}_model_demand_per_second"
MODEL_CAPACITY = f"{PREFIX}_model_capacity_per_second"
MODEL_PENDING = f"{PREFIX}_model_pending_requests"
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
GPU_UTILISATION = f"{PREFIX}_gpu_utilisation_ratio"
GPU_MEMORY_USED = f"{PREFIX}_gpu_memory_used_bytes"
GPU_MEMORY_TOTAL = f"{PREFIX}_gpu_memory_total_bytes"

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
