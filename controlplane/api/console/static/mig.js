// MIG layouts in the words of `controlplane mig show`: now, planned, whether the plan pays, and how a change stands.

import { layout } from "./bars.js";
import { el, prose, row, soft, table } from "./dom.js";
import { lines, mark, none } from "./marks.js";
import { gaps, signal, unknown } from "./signals.js";
import { clock, counted, duration, number, spoken } from "./words.js";

const KINDS = { failed: "bad", held: "warn", reset_required: "warn", under_way: "warn", done: "good" };

export function mig({ value, why }, now) {
  if (value === null) return none(why ? `Not read: ${why}` : "Not read yet.");
  return [
    value.mode === null ? null : el("p", null, `mode: ${value.mode}`),
    plan(value.plan),
    value.held ? el("p", null, mark("warn", `it is not carried out: ${value.held}`)) : null,
    change(value.change, now),
    models(value.models),
    gpus(value.gpus, value.narrowed),
  ];
}

function plan({ value, why, age_s: age }) {
  if (value === null) return none(`no plan: ${why}`);
  const verdict = value.pays ? mark("good", "pays") : value.steps.length ? mark("warn", "does not pay") : mark("good", "nothing to do");
  const cost = `; cost ${number(value.cost)} (not below ${number(value.bound)}), ${counted(value.changed_slices, "slice")} changed`;
  return [
    el("p", null, `plan of ${duration(age)} ago: `, verdict, cost),
    el("ul", null, value.reasons.map((reason) => el("li", null, reason))),
    lines(Object.entries(value.unserved).map(([model, of]) => [model, `is not served in full: ${of}`]), "warn"),
    value.steps.length ? steps(value.steps) : null,
  ];
}

function steps(all) {
  const rows = all.map((step, i) => row(String(i), String(step.wave), step.action, step.uuid, `${step.profile} at ${step.start}`,
    step.model || "–", [step.temporary && "meanwhile", step.interrupts && "interrupts"].filter(Boolean).join(", ")));
  return el("details", { "data-key": "steps" }, el("summary", null, `Its ${counted(all.length, "step")}`),
    table("Steps of the plan, wave by wave", ["wave", "what", "GPU", "slice", "model", "note"], rows));
}

function change(found, now) {
  if (found === null) return null;
  const when = found.ended_at === null ? `begun ${clock(found.began_at, now)}` : `ended ${clock(found.ended_at, now)}`;
  return el("p", null, "last change: ", mark(KINDS[found.state] ?? "warn", spoken(found.state)),
    `, ${found.done} of ${counted(found.steps, "step")}, ${when}${found.why ? `: ${found.why}` : ""}`);
}

function models(all) {
  if (!all.length) return null;
  const short = (value) => (value === null ? unknown() : number(value));
  return [
    table("Models that are to have slices", ["model", "demand/s", "short now/s", "short as planned/s", "note"],
      all.map((model) => row(model.name, model.name, signal(model.demand_per_s, number), short(model.short_now_per_s),
        short(model.short_planned_per_s), prose(model.why)))),
    gaps(all.map((model) => [model.name, { demand: model.demand_per_s }])),
  ];
}

function gpus({ state, value, why, age_s: age }, narrowed) {
  if (state === "missing") return none(`GPUs are not known: ${why}`);
  if (!value.length) return none(narrowed ? "no GPU matches" : "no GPU is seen");
  return [
    state === "stale" ? el("p", null, mark("unsure", `stale, ${duration(age)} old: ${why}`)) : null,
    value.map((gpu) => el("article", { "data-key": gpu.uuid, "aria-label": gpu.uuid },
      el("h3", null, gpu.uuid, " ", soft([gpu.node, gpu.name, gpu.board].filter(Boolean).join(", "))),
      gpu.why ? el("p", null, mark("unsure", gpu.why)) : null,
      gpu.units ? layout(gpu) : null)),
  ];
}
