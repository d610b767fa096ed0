// The last decisions that change something, with their reasons; all that is known of one where it is opened.

import { ask } from "./api.js";
import { draw, el, prose, row, soft, table } from "./dom.js";
import { mark, none } from "./marks.js";
import { clock, spoken } from "./words.js";

const KINDS = { succeeded: "good", failed: "bad" };

export function decisions({ value, why }, now) {
  if (value === null) return none(why ? `Decisions are not read: ${why}` : "Not read yet.");
  if (!value.length) return none("Nothing was decided that changes anything.");
  return table("Decisions, newest first", ["at", "model", "server", "what and why", "came of it"],
    value.map((decision) => one(decision, now)));
}

function one(decision, now) {
  const by = decision.by_person ? soft(" (by request)") : null;
  return row(decision.id, clock(decision.at, now), decision.model, decision.server,
    [prose(decision.headline), by, reasons(decision)], cameOf(decision));
}

function reasons(decision) {
  const explained = ({ currentTarget: details }) => details.open && explain(decision.id, details.querySelector("ul"));
  return el("details", { toggle: explained }, el("summary", null, "all reasons"), el("ul", { "data-own": "", class: "reasons" }));
}

// In the control plane's own words, as `controlplane explain` gives them.
async function explain(id, lines) {
  try {
    const told = await ask(`api/v1/decisions/${encodeURIComponent(id)}/explain`);
    draw(lines, told.lines.map((line) => el("li", null, line)));
  } catch (error) {
    draw(lines, el("li", null, `not read: ${error.message}`));
  }
}

function cameOf(decision) {
  if (decision.step === "hold") return soft("–");
  if (!decision.actionable) return soft(`not carried out: mode ${decision.mode}`);
  const parts = decision.outcomes.map((outcome) => prose(mark(KINDS[outcome.status] ?? "warn", spoken(outcome.status)),
    outcome.status === "failed" ? ` ${outcome.detail}` : ""));
  if (decision.effect) parts.push(el("small", null, spoken(decision.effect.verdict)));
  return parts.length ? parts : "under way";
}
