"""controlplane simulate --models: several models that share one quota of GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controlplane.cli.output import print_json
from controlplane.cli.progress import progress
from controlplane.cli.simulate_inputs import load_of, names_of, not_allowed, seconds, serving_of, write


def simulate_models(
    path: Path, policy: str, knob: float | None, startup: str, seed: int, out: Path | None, *, as_json: bool
) -> None:
    """Run each policy over all models of a file and tell what each of them got."""
    from controlplane.cli.tables import escape, new_table, show
    from controlplane.sim import together_report as report
    from controlplane.sim.models_file import SimulatedModel, read_models
    from controlplane.sim.peers.registry import POLICIES
    from controlplane.sim.service import StartUp
    from controlplane.sim.together import Tenant, run_together
    from controlplane.sim.world import make_world

    file, starts = read_models(path), StartUp(seconds("--startup", startup))

    def tenant(model: SimulatedModel) -> Tenant:
        serving = serving_of(model.service, model.trace, model.ttft, model.itl, model.latency)
        load, before = load_of(model.trace, model.since, model.until, None)
        made = make_world(load, serving, startup=starts, peak_replicas=model.peak_replicas, seed=seed, before=before)
        return Tenant(model.name, made, model.priority)

    with progress() as bar:
        task = bar.add_task("reading and scaling the traces", total=None)
        tenants = [tenant(model) for model in file.models]
        has_tokens = all(one.world.serving.has_tokens for one in tenants)
        names = names_of(policy, [name for name, of in POLICIES.items() if has_tokens or not of.needs_tokens])
        if knob is not None and len(names) != 1:
            raise not_allowed("--knob", str(knob), "it goes with one --policy")
        bar.update(task, description="simulating", total=len(names), completed=0)
        found = {}
        for name in names:
            found[name] = run_together(tenants, name, knob, file.quota)
            bar.advance(task)
    if out is not None:
        write(out, report.render(tenants, file.quota, found))
    if as_json:
        print_json(report.document(tenants, file.quota, found))
        return
    columns = ("policy", "model", "GPU-hours", "attained", "worst\n5 min", "actions", "flips")
    table = new_table(f"{len(tenants)} models on {file.quota} GPUs", *columns)
    for row in report.rows(found):
        table.add_row(*(escape(text) for text in row))
    show(table)
    if out is not None:
        show(f"written to {escape(str(out))}")


def unused(given: Sequence[tuple[str, object]]) -> None:
    """Raises ConfigurationError for an option that does not go with --models."""
    for option, value in given:
        if value:
            raise not_allowed(option, str(value), "it does not go with --models, whose file tells that by model")
