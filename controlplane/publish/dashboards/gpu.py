"""GPU and MIG: what devices do, whether they are well, and how they are cut."""

from __future__ import annotations

from controlplane.domain import names
from controlplane.publish.dashboards import drills
from controlplane.publish.dashboards import variables as v
from controlplane.publish.dashboards.builder import Dashboard, Row, dashboard
from controlplane.publish.dashboards.marks import marks
from controlplane.publish.dashboards.panels import (
    GREEN,
    GREY,
    NOTHING,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    any_is,
    rising,
    stat,
    state_timeline,
    table,
    timeseries,
)
from controlplane.publish.dashboards.queries import Own, is_not, largest, share, total

N, G = names.NODE, names.GPU
OWN = Own(N, G)
KEY = (N, G)
ONE = "{{node}} {{gpu}}"
SLICE = "{{node}} {{slice}}"
NO_GPU = "no GPU"
NOT_TOLD = "not told"
NOT_CUT = "no MIG slice"
TO = [drills.TO_COST]


def gpu() -> Dashboard:
    """GPUs of all nodes, and their slices."""
    return dashboard(
        drills.GPU,
        "GPU and MIG",
        "Use, memory, power and faults of every GPU, and of the MIG slices that it is cut into.",
        [v.PLANE, v.NODE, v.GPU],
        [
            Row("Now", [*_now(), _inventory()]),
            Row("Use", _use()),
            Row("Memory, power, heat", _physics()),
            Row("Faults", _faults()),
            Row("MIG slices", _slices()),
        ],
        marks(by_model=False),
    )


def _line(name: str, title: str, description: str, unit: str) -> Panel:
    queries = [Query(largest(OWN.now(name), *KEY), ONE)]
    look: Look = {"least": 0, "no_value": NOT_TOLD, "width": 6, "drills": TO}
    if unit == "percentunit":
        look["most"] = 1
    return timeseries(title, description, queries, unit, **look)


def _now() -> list[Panel]:
    held = f"{OWN.now(names.GPU_THROTTLED, is_not(names.REASON, 'clocks_setting'))}"
    return [
        stat(
            "GPUs seen",
            "GPUs of which anything is known.",
            Query(total(OWN.now(names.GPU_INFO)), "GPUs"),
            "none",
            no_value=NO_GPU,
            drills=TO,
        ),
        stat(
            "Mean use",
            "Share of time in which the GPUs executed something, over all of them.",
            Query(f"avg({OWN.now(names.GPU_UTILISATION)})", "use"),
            "percentunit",
            decimals=0,
            no_value=NO_GPU,
            drills=TO,
        ),
        stat(
            "Memory used",
            "Share of the memory of all GPUs in use.",
            Query(share(total(OWN.now(names.GPU_MEMORY_USED)), total(OWN.now(names.GPU_MEMORY_TOTAL))), "in use"),
            "percentunit",
            decimals=0,
            no_value=NO_GPU,
            drills=TO,
        ),
        stat(
            "Power of all",
            "Power that all GPUs draw.",
            Query(total(OWN.now(names.GPU_POWER)), "power"),
            "watt",
            no_value=NO_GPU,
            drills=TO,
        ),
        stat(
            "Held back",
            "GPUs whose clocks are held down by power or heat now.",
            Query(total(largest(held, *KEY)), "held back"),
            "none",
            steps=any_is(YELLOW),
            no_value=NO_GPU,
            drills=[drills.TO_CONTROL_PLANE],
        ),
        stat(
            "With errors",
            "GPUs that had an XID error since the driver was loaded, by the last one they tell.",
            Query(f"sum({OWN.now(names.GPU_LAST_XID)} > bool 0)", "errors"),
            "none",
            steps=any_is(),
            no_value=NO_GPU,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]


def _inventory() -> Panel:
    labels = (*KEY, names.INDEX, names.NAME)
    info = f"* on ({N}, {G}) group_right () {largest(OWN.now(names.GPU_INFO), *labels)}"

    def column(name: str, heading: str, unit: str) -> Column:
        return Column(f"{largest(OWN.now(name), *KEY)} {info}", heading, unit)

    return table(
        "GPUs",
        "Every GPU with its figures of now. An empty cell is not known: the driver does not tell.",
        [
            column(names.GPU_UTILISATION, "In use", "percentunit"),
            column(names.GPU_MEMORY_USED, "Memory used", "bytes"),
            column(names.GPU_MEMORY_TOTAL, "Memory", "bytes"),
            column(names.GPU_POWER, "Power", "watt"),
            column(names.GPU_TEMPERATURE, "Temperature", "celsius"),
            column(names.GPU_PROCESSES, "Processes", "none"),
            column(names.GPU_SLICES, "Slices", "none"),
            column(names.GPU_LAST_XID, "Last XID", "none"),
        ],
        labels,
        width=24,
        height=7,
        no_value=NO_GPU,
        drills=[drills.ONE_GPU, drills.TO_COST],
    )


def _use() -> list[Panel]:
    return [
        _line(
            names.GPU_UTILISATION,
            "Busy",
            "Share of time in which anything executed: full is not yet saturated.",
            "percentunit",
        ),
        _line(
            names.GPU_SM_UTILISATION,
            "SMs busy",
            "Share of the SMs that was busy: how full the device is.",
            "percentunit",
        ),
        _line(
            names.GPU_TENSOR_UTILISATION,
            "Tensor cores busy",
            "Share of time in which the tensor cores worked.",
            "percentunit",
        ),
        _line(
            names.GPU_BANDWIDTH_UTILISATION,
            "Memory bandwidth",
            "Share of the memory bandwidth that was used.",
            "percentunit",
        ),
    ]


def _physics() -> list[Panel]:
    used, there = largest(OWN.now(names.GPU_MEMORY_USED), *KEY), largest(OWN.now(names.GPU_MEMORY_TOTAL), *KEY)
    return [
        timeseries(
            "Memory in use",
            "Share of the GPU's memory in use. Near 1 the next load may run out of it.",
            [Query(share(used, there), ONE)],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.9, 0.97),
            no_value=NO_GPU,
            width=6,
            drills=TO,
        ),
        _line(names.GPU_POWER, "Power", "Power drawn.", "watt"),
        _line(names.GPU_TEMPERATURE, "Temperature", "Temperature of the GPU.", "celsius"),
        _line(names.GPU_SM_CLOCK, "SM clock", "Clock of the SMs; it falls where something holds it back.", "hertz"),
    ]


def _faults() -> list[Panel]:
    return [
        state_timeline(
            "What holds the clocks down",
            "Reasons why the clocks are held down: power, heat, or a setting.",
            [Query(f"{largest(OWN.now(names.GPU_THROTTLED), *KEY, names.REASON)} == 1", f"{ONE}: {{{{reason}}}}")],
            {1: ("held", YELLOW)},
            no_value=NOTHING,
            drills=TO,
        ),
        timeseries(
            "Last XID error",
            "Number of the last XID error; 0: none. What each means stands in NVIDIA's XID catalogue.",
            [Query(largest(OWN.now(names.GPU_LAST_XID), *KEY), ONE)],
            "none",
            steps=any_is(),
            no_value=NO_GPU,
            width=6,
            drills=[drills.TO_CONTROL_PLANE],
        ),
        timeseries(
            "Uncorrected ECC errors",
            "Errors that ECC could not correct, over the last few scrapes.",
            [Query(total(OWN.grown_lately(names.GPU_ECC_UNCORRECTED), *KEY), ONE)],
            "none",
            bars=True,
            steps=any_is(),
            no_value="no ECC",
            width=6,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]


def _slices() -> list[Panel]:
    labels = (*KEY, names.SLICE, names.PROFILE, names.START, names.SIZE)
    of_slice = (*KEY, names.SLICE)
    used = largest(OWN.now(names.GPU_SLICE_MEMORY_USED), *of_slice)
    there = largest(OWN.now(names.GPU_SLICE_MEMORY_TOTAL), *of_slice)
    busy = largest(OWN.now(names.GPU_SLICE_SM_UTILISATION), *of_slice)
    return [
        state_timeline(
            "MIG mode",
            "Whether the GPU can be cut into slices now.",
            [Query(largest(OWN.now(names.GPU_MIG_ENABLED), *KEY), ONE)],
            {1: ("on", GREEN), 0: ("off", GREY)},
            no_value=NO_GPU,
            width=5,
            drills=TO,
        ),
        table(
            "Layout",
            "The slices of each GPU: profile, and where it starts and how large it is, in units of memory.",
            [Column(largest(OWN.now(names.GPU_SLICE_INFO), *labels), "Slice", "none")],
            labels,
            hide_values=True,
            width=9,
            no_value=NOT_CUT,
            drills=[drills.ONE_GPU],
        ),
        timeseries(
            "SMs of slices busy",
            "Share of the slice's SMs that was busy.",
            [Query(busy, SLICE)],
            "percentunit",
            least=0,
            most=1,
            no_value=NOT_CUT,
            width=5,
            drills=TO,
        ),
        timeseries(
            "Memory of slices in use",
            "Share of the slice's memory in use.",
            [Query(share(used, there), SLICE)],
            "percentunit",
            least=0,
            most=1,
            steps=rising(0.9, 0.97),
            no_value=NOT_CUT,
            width=5,
            drills=TO,
        ),
        timeseries(
            "Steps of MIG changes",
            "Slices created and destroyed, MIG turned on or off, copies started and drained, nodes cut under the GPU"
            " operator, and what came of them; only in mode act.",
            [Query(total(OWN.grown_lately(names.MIG_STEPS), names.STEP, names.OUTCOME), "{{step}}: {{outcome}}")],
            "none",
            stacked=True,
            bars=True,
            no_value=NOTHING,
            width=24,
            drills=[drills.TO_CONTROL_PLANE],
        ),
    ]
