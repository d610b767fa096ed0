// The fleet in a few figures. What is not known is counted apart, and never as well or as zero.

import { el, soft } from "./dom.js";
import { mark } from "./marks.js";
import { promise } from "./objectives.js";
import { UNKNOWN } from "./signals.js";
import { counted, duration, percent } from "./words.js";

export function glance(fleet, board) {
  return el("dl", { class: "tiles" }, [
    alerts(fleet), objectives(fleet), models(fleet), servers(fleet), gpus(fleet), people(fleet, board.clock_s),
  ]);
}

// `kind` says by a sign, and by its colour, whether it needs somebody.
function tile(name, kind, figure, notes) {
  const beside = notes.filter(Boolean).join(", ");
  return el("div", { "data-key": name }, el("dt", null, name), el("dd", null, mark(kind, figure), beside ? soft(beside) : null));
}

function alerts(fleet) {
  const all = fleet.models.flatMap((model) => model.alerts);
  const firing = all.filter((alert) => alert.firing);
  const pages = firing.filter((alert) => alert.severity === "page").length;
  const frozen = all.filter((alert) => alert.frozen).length;
  const notes = [
    pages && counted(pages, "page"),
    firing.length - pages && counted(firing.length - pages, "ticket"),
    frozen && `${frozen} of ${all.length} cannot be judged`,
  ];
  const kind = pages ? "bad" : firing.length ? "warn" : frozen ? "unsure" : "good";
  return tile("Burn alerts", kind, firing.length ? `${firing.length} firing` : "none fires", notes);
}

function objectives(fleet) {
  const found = fleet.models.flatMap((model) => model.objectives);
  if (!found.length) return tile("Objectives", "unsure", "none", []);
  const of = (word) => found.filter((objective) => promise(objective) === word).length;
  const least = Math.min(...found.map((o) => o.budget_left ?? Infinity));
  const rest = ["broken", "unsure", "no events"].map((word) => of(word) && `${of(word)} ${word}`);
  const budget = Number.isFinite(least) && `least budget left ${percent(least)}`;
  const kind = of("broken") ? "bad" : of("kept") < found.length ? "unsure" : "good";
  return tile("Objectives", kind, `${of("kept")} of ${found.length} kept`, [...rest, budget]);
}

function models(fleet) {
  const states = fleet.models.map((model) => {
    if (model.units.some((unit) => unit.state.state === "known" && unit.state.value === "ready")) return "ready";
    return model.units.length && model.units.every((unit) => unit.state.state === "known") ? "other" : UNKNOWN;
  });
  const flying = fleet.models.flatMap((model) => model.units).filter((unit) => unit.in_flight).length;
  // one that is not ready may be unloaded, and well so
  const kind = states.every((state) => state === "ready") ? "good" : "off";
  return shares("Models", "ready", states, [flying && `${counted(flying, "change")} under way`], kind);
}

function servers(fleet) {
  const states = fleet.servers.map(({ live }) => (live.state !== "known" ? UNKNOWN : live.value ? "live" : "not live"));
  return shares("Servers", "live", states, [], states.includes("not live") ? "bad" : "good");
}

function shares(name, good, states, notes, kind) {
  if (!states.length) return tile(name, "unsure", "none", []);
  const of = (word) => states.filter((state) => state === word).length;
  const words = [of("not live") && `${of("not live")} not live`, of(UNKNOWN) && `${of(UNKNOWN)} ${UNKNOWN}`];
  const shown = kind !== "bad" && of(UNKNOWN) ? "unsure" : kind;
  return tile(name, shown, `${of(good)} of ${states.length} ${good}`, [...words, ...notes]);
}

function gpus(fleet) {
  const { state, value, why } = fleet.gpus;
  const silent = Object.values(fleet.gpu_nodes).filter((node) => node.state !== "known" || !node.value).length;
  const notes = [silent && `${counted(silent, "node")} ${UNKNOWN}`];
  if (state === "missing") return tile("GPUs", "unsure", UNKNOWN, [why, ...notes]);
  const cut = value.filter((gpu) => gpu.mig_enabled.value).length;
  const kind = silent || state === "stale" ? "unsure" : "good";
  return tile("GPUs", kind, String(value.length), [state === "stale" && "stale", cut && `${cut} with MIG on`, ...notes]);
}

function people(fleet, now) {
  const { freezes, overrides } = fleet;
  const ends = [...freezes, ...overrides].map((one) => one.expires_at);
  if (!ends.length) return tile("Held by people", "good", "nothing", []);
  const figure = [freezes.length && counted(freezes.length, "freeze"), overrides.length && counted(overrides.length, "override")];
  return tile("Held by people", "warn", figure.filter(Boolean).join(", "), [`the next ends in ${duration(Math.min(...ends) - now)}`]);
}
