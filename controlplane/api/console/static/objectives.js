// Objectives: what was attained of the target, what is left of the budget, and how fast it goes.

import { el, row, soft, table } from "./dom.js";
import { bar, lines, mark, none } from "./marks.js";
import { gaps } from "./signals.js";
import { duration, number, percent } from "./words.js";

const KINDS = { kept: "good", broken: "bad", unsure: "unsure", "no events": "unsure" };

export function objectives(fleet) {
  const found = fleet.models.flatMap((model) => model.objectives.map((objective) => ({ model, objective })));
  if (!found.length) return none("No model has an objective.");
  return [
    table("Objectives", ["model", "objective", "target", "attained", "promise", "budget left", "burn 5 min / 1 h / 6 h", "measured"],
      found.map(one)),
    gaps(found.filter(({ objective }) => objective.told).map(({ model, objective }) => [
      `${model.name} ${objective.objective}`, { "by Prometheus": objective.told }])),
    warnings(found),
  ];
}

// What an objective promises, so far: kept, broken, unsure where events cannot tell, no events.
export function promise({ attainment_low: low, attainment_high: high, target }) {
  if (low === null || high === null) return "no events";
  return low >= target ? "kept" : high < target ? "broken" : "unsure";
}

function one({ model, objective: o }) {
  const stands = promise(o);
  return row(JSON.stringify([model.name, o.objective]), model.name, [o.objective, el("small", null, span(o))],
    `${Number((100 * o.target).toPrecision(10))} %`, attained(o), mark(KINDS[stands], stands), budget(o),
    [o.burn_5m, o.burn_1h, o.burn_6h].map((burn) => (burn === null ? "–" : number(burn))).join(" / "),
    o.coverage === null ? soft("not judged yet") : `${percent(o.coverage, 1)} (${duration(o.measured_s)})`);
}

function span(o) {
  return o.period === null ? `over ${duration(o.window_s)}` : `over the ${o.period} (${o.timezone})`;
}

function attained({ attainment_low: low, attainment_high: high }) {
  if (low === null || high === null) return soft("nothing counted");
  return low === high ? percent(low, 3) : `${percent(low, 3)} to ${percent(high, 3)}`;
}

function budget({ budget_left: left, exhausted_1h_s: spent_s }) {
  if (left === null) return soft("–");
  const kind = left > 0.25 ? "good" : left > 0 ? "warn" : "bad";
  const soon = spent_s ? el("small", null, `spent in ${duration(spent_s)} at the last hour's pace`) : null;
  return [el("span", { class: "load" }, mark(kind, percent(left, 1)), bar(left, kind)), soon];
}

function warnings(found) {
  const odd = found.filter(({ objective }) => objective.warning);
  return lines(odd.map(({ model, objective }) => [`${model.name} ${objective.objective}`, objective.warning]), "warn");
}
