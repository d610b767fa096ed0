"""The families of the metrics page: name, kind, meaning, labels. docs/reference/metrics.md is tested against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controlplane.domain import names
from controlplane.domain.observation import Counter, HostGauge


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. A counter's samples carry the suffix `_total`, which `name` leaves out."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


_UNIT = (names.MODEL, names.SERVER)
_OBJECTIVE = (names.MODEL, names.OBJECTIVE)
_SUBJECT = (names.MODEL, names.WORKLOAD)

COUNTER_PARTS = {
    Counter.REQUESTS: names.OUTCOME,
    Counter.COMPUTE_S: names.PHASE,
    Counter.RESPONSE_CACHE: names.RESULT,
}
"""Labels of the parts of counters that have some."""
_COUNTED = {
    Counter.REQUESTS: "Requests that the server ended, by outcome",
    Counter.REQUEST_S: "Time from arrival to the last answer, summed over requests",
    Counter.QUEUE_S: "Time that requests waited, summed",
    Counter.COMPUTE_S: "Time in the backend by phase, summed over requests, each with its whole batch's",
    Counter.INFERENCES: "Items inferred, without those from the response cache",
    Counter.EXECUTIONS: "Batches executed",
    Counter.RESPONSE_CACHE: "Look-ups in the response cache",
    Counter.PROMPT_TOKENS: "Prompt tokens processed",
    Counter.GENERATION_TOKENS: "Tokens generated",
    Counter.PREEMPTIONS: "Requests thrown out of a full KV cache",
    Counter.PREFIX_QUERIES: "Prompt tokens looked up in the prefix cache",
    Counter.PREFIX_HITS: "Prompt tokens found in the prefix cache",
    Counter.ENDED: "Requests whose lengths are summed",
    Counter.ENDED_PROMPT: "Prompt tokens of requests that ended",
    Counter.ENDED_GENERATION: "Generated tokens of requests that ended",
    Counter.ITL_COUNT: "Times between tokens that were seen",
    Counter.ITL_S: "Time between tokens, summed",
}
_HOST = {
    HostGauge.PINNED_MEMORY_USED: "Pinned memory pool in use",
    HostGauge.PINNED_MEMORY_TOTAL: "Pinned memory pool",
    HostGauge.CPU_UTILISATION: "Share of the machine's CPU in use",
    HostGauge.CPU_MEMORY_USED: "Memory of the machine in use",
    HostGauge.CPU_MEMORY_TOTAL: "Memory of the machine",
    HostGauge.GPU_UTILISATION: "Share of time in which the GPU executed something, by the server's own page",
    HostGauge.GPU_MEMORY_USED: "GPU memory in use, by the server's own page",
    HostGauge.GPU_MEMORY_TOTAL: "GPU memory there is, by the server's own page",
}

MODEL_FAMILIES: tuple[Family, ...] = (
    Family(names.MODEL_PENDING_BY_REASON, "gauge", "Requests that wait, by what for", (*_UNIT, names.REASON)),
    Family(names.MODEL_RUNNING, "gauge", "Requests that execute", _UNIT),
    Family(names.MODEL_KV_CACHE_USAGE, "gauge", "Share of the KV cache in use, of the fullest engine", _UNIT),
    Family(names.MODEL_KV_CACHE_TOKENS, "gauge", "Tokens that the KV cache holds", _UNIT),
    Family(names.MODEL_SLEEP, "gauge", "1 for the state of sleep of the engine", (*_UNIT, names.STATE)),
    Family(names.MODEL_ADAPTERS, "gauge", "LoRA adapters by use, by the server's own account", (*_UNIT, names.USE)),
    Family(names.MODEL_ADAPTER_SLOTS, "gauge", "LoRA adapters that fit a batch", _UNIT),
    Family(names.MODEL_LOAD_S, "gauge", "How long the newest load took, by the server's own account", _UNIT),
    Family(names.MODEL_GPU_INFO, "gauge", "1 for each GPU that the model's counters name", (*_UNIT, names.GPU)),
    *(
        Family(
            names.MODEL_COUNTERS[counter],
            "counter",
            what,
            (*_UNIT, COUNTER_PARTS[counter]) if counter in COUNTER_PARTS else _UNIT,
        )
        for counter, what in _COUNTED.items()
    ),
)
HOST_FAMILIES: tuple[Family, ...] = tuple(
    Family(
        names.SERVER_HOST[gauge],
        "gauge",
        what,
        (names.SERVER, names.GPU) if gauge.name.startswith("GPU") else (names.SERVER,),
    )
    for gauge, what in _HOST.items()
)

_GPU = (names.NODE, names.GPU)
_SLICE = (*_GPU, names.SLICE)

GPU_FAMILIES: tuple[Family, ...] = (
    Family(names.GPU_INFO, "gauge", "1 for each GPU", (*_GPU, names.INDEX, names.NAME)),
    Family(names.GPU_UTILISATION, "gauge", "Share of time in which the GPU executed something", _GPU),
    Family(names.GPU_SM_UTILISATION, "gauge", "Share of the SMs that was busy", _GPU),
    Family(names.GPU_TENSOR_UTILISATION, "gauge", "Share of time in which the tensor cores worked", _GPU),
    Family(names.GPU_BANDWIDTH_UTILISATION, "gauge", "Share of the memory bandwidth that was used", _GPU),
    Family(names.GPU_MEMORY_USED, "gauge", "GPU memory in use", _GPU),
    Family(names.GPU_MEMORY_TOTAL, "gauge", "GPU memory there is", _GPU),
    Family(names.GPU_POWER, "gauge", "Power drawn", _GPU),
    Family(names.GPU_TEMPERATURE, "gauge", "Temperature of the GPU", _GPU),
    Family(names.GPU_SM_CLOCK, "gauge", "Clock of the SMs", _GPU),
    Family(names.GPU_THROTTLED, "gauge", "1 when the reason holds the clocks down, else 0", (*_GPU, names.REASON)),
    Family(names.GPU_ECC_UNCORRECTED, "counter", "Uncorrected ECC errors since the driver was loaded", _GPU),
    Family(names.GPU_LAST_XID, "gauge", "Number of the last XID error since the start, 0: none", _GPU),
    Family(names.GPU_PROCESSES, "gauge", "Processes that compute on the GPU", _GPU),
    Family(names.GPU_MIG_ENABLED, "gauge", "1 when MIG is on", _GPU),
    Family(names.GPU_MIG_PENDING, "gauge", "1 when MIG is on after the next reset of the GPU", _GPU),
    Family(names.GPU_SLICES, "gauge", "MIG slices", _GPU),
    Family(
        names.GPU_SLICE_INFO,
        "gauge",
        "1 for each MIG slice; start and size in memory units, empty when not known",
        (*_SLICE, names.GPU_INSTANCE, names.COMPUTE_INSTANCE, names.PROFILE, names.START, names.SIZE),
    ),
    Family(names.GPU_SLICE_UTILISATION, "gauge", "Share of time in which the MIG slice executed something", _SLICE),
    Family(names.GPU_SLICE_SM_UTILISATION, "gauge", "Share of the MIG slice's SMs that was busy", _SLICE),
    Family(
        names.GPU_SLICE_TENSOR_UTILISATION, "gauge", "Share of time in which the slice's tensor cores worked", _SLICE
    ),
    Family(
        names.GPU_SLICE_BANDWIDTH_UTILISATION, "gauge", "Share of the slice's memory bandwidth that was used", _SLICE
    ),
    Family(names.GPU_SLICE_MEMORY_USED, "gauge", "Memory of the MIG slice in use", _SLICE),
    Family(names.GPU_SLICE_MEMORY_TOTAL, "gauge", "Memory of the MIG slice", _SLICE),
)

AGENT_FAMILIES: tuple[Family, ...] = (
    Family(names.AGENT_NVML_UP, "gauge", "1 when NVML answers, else 0 and the reason", (names.REASON,)),
    *GPU_FAMILIES,
    Family(
        names.GPU_PROCESS_INFO,
        "gauge",
        "1 for each process that computes on the GPU; ports: where it or a process above it listens; pod_uid: its pod",
        (*_SLICE, names.PID, names.PORTS, names.POD_UID),
    ),
    Family(names.GPU_PROCESS_MEMORY, "gauge", "GPU memory that the process uses", (*_SLICE, names.PID)),
    Family(
        names.GPU_MISSING,
        "gauge",
        "1 for each figure that is not known, with the reason",
        (*_SLICE, names.SIGNAL, names.REASON),
    ),
)
"""The agent's page; docs/reference/agent.md is tested against them."""

FAMILIES: tuple[Family, ...] = (
    Family(names.MODEL_LOADED, "gauge", "1 when the model is ready on the server, 0 when it is known not to be", _UNIT),
    Family(names.MODEL_INSTANCES, "gauge", "Instances of the model on the server", _UNIT),
    Family(names.MODEL_DESIRED_INSTANCES, "gauge", "Instances that the last decision wants, 0: not loaded", _UNIT),
    Family(names.MODEL_DEMAND, "gauge", "Arrivals per second to be served, as the last decision saw them", _UNIT),
    Family(
        names.MODEL_DEMAND_SEEN,
        "gauge",
        "Arrivals per second as observed; bound high is left out where some may not be seen",
        (*_UNIT, names.BOUND),
    ),
    Family(names.MODEL_DEMAND_QUANTILE, "gauge", "Quantile of demand that the error budget lets be served", _UNIT),
    Family(names.MODEL_CAPACITY, "gauge", "Arrivals per second that are served inside the objectives", _UNIT),
    Family(names.MODEL_PENDING, "gauge", "Requests that wait in the server's queue", _UNIT),
    Family(
        names.MODEL_DECISION,
        "gauge",
        "1 for the last decision: its step and the reason that settled it",
        (*_UNIT, names.STEP, names.BINDING),
    ),
    Family(
        names.MODEL_BATCHING_ADVICE, "gauge", "1 while the model's batching should be changed", (*_UNIT, names.CAUSE)
    ),
    Family(names.MODEL_IN_FLIGHT, "gauge", "Actions under way", (*_UNIT, names.STEP)),
    Family(
        names.MODEL_GPU_S, "counter", "GPU time allotted to the model: shared with what else is loaded there", _UNIT
    ),
    Family(names.MODEL_COST, "counter", "Price of the GPU time allotted to the model", (*_UNIT, names.CURRENCY)),
    Family(
        names.STARTUP_S,
        "gauge",
        "Learned time until what a knob adds serves, by quantile",
        (names.MODEL, names.WORKLOAD, names.KNOB, names.QUANTILE),
    ),
    Family(
        names.STARTUPS_SEEN, "gauge", "Start-ups behind the learned time", (names.MODEL, names.WORKLOAD, names.KNOB)
    ),
    *MODEL_FAMILIES,
    Family(names.OBJECTIVE_TARGET, "gauge", "Share of good events aimed at", _OBJECTIVE),
    Family(
        names.OBJECTIVE_ATTAINMENT,
        "gauge",
        "Share of good events over the window; bound low counts events in a cut bucket as bad, high as good",
        (*_OBJECTIVE, names.BOUND),
    ),
    Family(
        names.OBJECTIVE_BUDGET_LEFT,
        "gauge",
        "Share of the error budget unspent: 1 untouched, 0 spent, negative overspent",
        _OBJECTIVE,
    ),
    Family(
        names.OBJECTIVE_BURN_RATE,
        "gauge",
        "Speed of spending, as a multiple of the one that lasts the window",
        (*_OBJECTIVE, names.WINDOW),
    ),
    Family(names.OBJECTIVE_COVERAGE, "gauge", "Share of the window that was measured", _OBJECTIVE),
    Family(
        names.OBJECTIVE_EXHAUSTED,
        "gauge",
        "Time until the budget is spent at the burn rate of the window; none while it lasts",
        (*_OBJECTIVE, names.WINDOW),
    ),
    Family(
        names.OBJECTIVE_EVENTS,
        "counter",
        "Events in slices closed since the start; unsure: in a histogram bucket that the threshold cuts",
        (*_OBJECTIVE, names.RESULT),
    ),
    Family(
        names.OBJECTIVE_BAD_OF_CAPACITY, "counter", "Bad events that capacity explains, of those counted", _OBJECTIVE
    ),
    Family(names.OBJECTIVE_MEASURED_S, "counter", "Time that was measured, of closed slices", _OBJECTIVE),
    Family(names.OBJECTIVE_EXPECTED_S, "counter", "Time that should have been measured, of closed slices", _OBJECTIVE),
    Family(names.ALERT_FIRING, "gauge", "1 while the burn alert fires, else 0", (*_OBJECTIVE, names.SEVERITY)),
    Family(
        names.ALERT_FROZEN,
        "gauge",
        "1 while the burn alert cannot be judged and stays what it was, else 0",
        (*_OBJECTIVE, names.SEVERITY),
    ),
    Family(
        names.ALERT_FACTOR,
        "gauge",
        "Burn rate above which the burn alert fires, by its longer window",
        (*_OBJECTIVE, names.SEVERITY, names.WINDOW),
    ),
    Family(names.SERVER_LIVE, "gauge", "1 when the server answers, 0 when it is known not to", (names.SERVER,)),
    Family(names.SERVER_READING_AGE, "gauge", "Time since anything of it was read; absent: never", (names.SERVER,)),
    Family(
        names.SERVER_READS, "counter", "Rounds in which the server was read, by result", (names.SERVER, names.RESULT)
    ),
    *HOST_FAMILIES,
    Family(names.WORKLOAD_DESIRED_REPLICAS, "gauge", "Replicas that the last decision wants", (names.WORKLOAD,)),
    Family(
        names.WORKLOAD_DEMAND_REPLICAS,
        "gauge",
        "Demand as the last decision saw it, in replicas that it would use up",
        (names.WORKLOAD,),
    ),
    Family(
        names.WORKLOAD_DEMAND_AHEAD_REPLICAS,
        "gauge",
        "The same when a replica asked for now is ready, at the quantile held",
        (names.WORKLOAD,),
    ),
    Family(
        names.WORKLOAD_QUOTA_SHORT_GPUS,
        "gauge",
        "GPUs that the last decision lacks for what is wanted, by the quota; 0: none",
        (names.WORKLOAD,),
    ),
    Family(names.WORKLOAD_LISTED, "gauge", "1 when the workload's servers are known, else 0", (names.WORKLOAD,)),
    Family(names.WORKLOAD_MEMBERS, "gauge", "Servers found, by phase", (names.WORKLOAD, names.PHASE)),
    Family(names.WORKLOAD_LISTING_AGE, "gauge", "Age of the newest listing of the workload", (names.WORKLOAD,)),
    Family(names.WORKLOAD_UNSCHEDULED, "gauge", "Replicas that no node takes", (names.WORKLOAD,)),
    Family(
        names.WORKLOAD_OWNED, "gauge", "1 when something else sets the workload's replicas, else 0", (names.WORKLOAD,)
    ),
    *GPU_FAMILIES,
    Family(names.GPU_PRICE, "gauge", "Price of an hour of the GPU, as configured", (*_GPU, names.CURRENCY)),
    Family(names.GPU_S, "counter", "Time for which the GPU was seen", _GPU),
    Family(names.GPU_BUSY_S, "counter", "Of it, time in which it executed something", _GPU),
    Family(
        names.MIG_SLICES, "gauge", "MIG slices by profile, whole for MIG off: now, planned", (names.PROFILE, names.WHEN)
    ),
    Family(
        names.MIG_SHORT,
        "gauge",
        "Demand, in requests, that no slice serves: now, planned",
        (names.MODEL, names.WHEN),
    ),
    Family(names.MIG_PLAN_AT, "gauge", "When the newest plan of MIG layouts was asked for"),
    Family(names.MIG_PLAN_COST, "gauge", "GPUs that it uses, or their price"),
    Family(names.MIG_PLAN_CHANGED, "gauge", "Slices that it creates and destroys"),
    Family(names.MIG_PLAN_PAYS, "gauge", "1 when it is worth its disturbance, else 0"),
    Family(names.MIG_CHANGES, "counter", "Changes of MIG layouts that ended, by how they did", (names.STATE,)),
    Family(
        names.MIG_STEPS,
        "counter",
        "Steps of changes of MIG layouts, by what they were and what came of them",
        (names.STEP, names.OUTCOME),
    ),
    Family(names.MIG_CHANGE_LEFT, "gauge", "Steps that the one under way has left; 0: none is"),
    Family(
        names.DECISIONS, "counter", "Decisions by step and the reason that settled them", (names.STEP, names.BINDING)
    ),
    Family(
        names.CIRCUIT_OPEN,
        "gauge",
        "1 while steps to a server or workload are held back because nobody was found there, else 0",
        (names.TARGET,),
    ),
    Family(names.EFFECTS, "counter", "Judged effects of actions; harmed: rolled back", (names.VERDICT,)),
    Family(names.DIRECTION_CHANGES, "gauge", "Turns between raising and lowering in the last hour", _UNIT),
    Family(
        names.CONDITION,
        "gauge",
        "1 for each thing that is wrong now, by the alert that tells of it; labels that do not apply are empty",
        (
            names.ALERT,
            names.MODEL,
            names.OBJECTIVE,
            names.WORKLOAD,
            names.SERVER,
            names.NODE,
            names.GPU,
            names.KIND,
            names.CAUSE,
        ),
    ),
    Family(names.NOTICES, "counter", "Posts of alerts to an Alertmanager, by result", (names.RESULT,)),
    Family(names.OVERRIDES_ACTIVE, "gauge", "Overrides in force, of a model or a workload", _SUBJECT),
    Family(names.OVERRIDE_EXPIRES, "gauge", "When the last override of a kind runs out", (*_SUBJECT, names.KIND)),
    Family(names.FREEZES_ACTIVE, "gauge", "Freezes in force; model * holds for all", _SUBJECT),
    Family(names.FREEZE_EXPIRES, "gauge", "When the last freeze of a direction runs out", (*_SUBJECT, names.DIRECTION)),
    Family(names.TICKS, "counter", "Ticks done since the start"),
    Family(names.TICKS_SKIPPED, "counter", "Ticks left out because the one before still ran"),
    Family(names.TICKS_UNWRITTEN, "gauge", "Ticks that wait in memory for the store"),
    Family(names.TICKS_LOST, "counter", "Ticks lost because too many waited for the store"),
    Family(names.TICK_LAST, "gauge", "When the last tick was done"),
    Family(names.TICK_DURATION, "gauge", "How long the last tick took"),
    Family(names.TICK_LATENESS, "gauge", "How much later than due the last tick began"),
    Family(names.TICK_INTERVAL, "gauge", "Time between two ticks, as configured"),
    Family(names.LEADING, "gauge", "1 while this process decides and writes, else 0"),
    Family(names.LEADER_EPOCH, "gauge", "Epoch of the lease by which one leads, as this process knows it"),
    Family(names.TAKEOVERS, "counter", "Times this process took the lease"),
    Family(names.STORE_FAILING, "gauge", "1 while the store cannot be read or written, else 0"),
    Family(names.BUILD_INFO, "gauge", "1", (names.VERSION,)),
)
