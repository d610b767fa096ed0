// Models as a whole, and where they run with what was decided there last.

import { el, prose, row, soft, table } from "./dom.js";
import { bar, lines, mark, none } from "./marks.js";
import { gaps, signal, sum, total, UNKNOWN } from "./signals.js";
import { counted, duration, number, percent, spoken } from "./words.js";

const OPEN_UP_TO = 40;
const WORDS = {
  state: "state", instances: "instances", desired_instances: "desired instances", demand_per_s: "demand",
  capacity_per_s: "capacity", pending: "pending",
};

export function models(fleet) {
  if (!fleet.models.length) return none("No model is configured.");
  const units = fleet.models.flatMap((model) => model.listed.map((unit) => ({ model, unit })));
  const open = units.length <= OPEN_UP_TO ? "" : null;
  return [
    table("Models", ["model", "ready on", "instances", "demand/s", "capacity/s", "demand of capacity", "waiting"],
      fleet.models.map(whole)),
    units.length === 0 ? null : el("details", { open, "data-key": "units" },
      el("summary", null, `Where they run: ${counted(units.length, "place")}`),
      table("Models on their servers",
        ["model", "server", "state", "read", "instances", "wanted", "demand/s", "capacity/s", "waiting", "decided"],
        units.map(one))),
    gaps([...fleet.models.filter((model) => !model.units.length).map(unplaced), ...units.map(lacking)]),
    failures(units),
  ];
}

function whole(model) {
  const { units } = model;
  const demand = sum(units.map((unit) => unit.demand_per_s));
  const capacity = sum(units.map((unit) => unit.capacity_per_s));
  const name = [model.name, el("small", null, `${model.mode}${held(model)}`)];
  return row(model.name, name, ready(units), total(sum(units.map((unit) => unit.instances)), String), total(demand),
    total(capacity), load(demand, capacity), total(sum(units.map((unit) => unit.pending)), String));
}

function held(model) {
  const frozen = model.freezes.length ? ", frozen" : "";
  return model.overrides.length ? `${frozen}, ${counted(model.overrides.length, "override")}` : frozen;
}

function ready(units) {
  const is = (unit) => unit.state.value === "ready";
  const known = units.filter((unit) => unit.state.state === "known");
  const count = known.filter(is).length;
  const stale = units.filter((unit) => unit.state.state === "stale" && is(unit)).length;
  const missing = units.filter((unit) => unit.state.state === "missing").length;
  const notes = [stale ? `${stale} ready when read last` : "", missing ? `${missing} ${UNKNOWN}` : ""].filter(Boolean);
  const kind = !units.length || notes.length ? "unsure" : count ? "good" : "off";
  const text = units.length ? `${count} of ${counted(units.length, "server")}` : "no server";
  return [mark(kind, text), notes.length ? el("small", null, notes.join(", ")) : null];
}

// Only where all of it is known: a share of parts would be none.
function load(demand, capacity) {
  if ([demand, capacity].some((of) => of.value === null || of.missing) || capacity.value === 0) return soft("–");
  const share = demand.value / capacity.value;
  const kind = share > 1 ? "bad" : share > 0.9 ? "warn" : "good";
  return el("span", { class: "load" }, mark(kind, percent(share)), bar(share, kind));
}

function one({ model, unit }) {
  const { decision, in_flight: flying } = unit;
  const state = [signal(unit.state, spoken), flying ? el("small", null, `${spoken(flying.step)} under way`) : null];
  const read = unit.state.age_s === null ? soft("–") : `${duration(unit.state.age_s)} ago`;
  const instances = [signal(unit.instances), soft(` of ${model.instances_min}–${model.instances_max}`)];
  return row(JSON.stringify([model.name, unit.server]), model.name, unit.server, state, read, instances,
    signal(unit.desired_instances), signal(unit.demand_per_s, number), signal(unit.capacity_per_s, number),
    signal(unit.pending), decision ? prose(decision.headline) : soft("nothing yet"));
}

function lacking({ model, unit }) {
  const views = Object.fromEntries(Object.entries(WORDS).map(([key, word]) => [word, unit[key]]));
  return [`${model.name} on ${unit.server}`, views];
}

function unplaced(model) {
  const views = model.workloads.map(({ name, members }) => [`servers of ${name}`,
    members.state === "known" ? { state: "none", why: "has no servers now" } : members]);
  return [model.name, Object.fromEntries(views)];
}

function failures(units) {
  const failed = units.filter(({ unit }) => unit.probe_failure);
  return lines(failed.map(({ model, unit: { server, probe_failure: { message, failure, remedy } } }) =>
    [`${model.name} on ${server}`, `the probe failed: ${message} [${spoken(failure)}; ${remedy}]`]), "bad");
}
