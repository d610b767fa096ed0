// What people have fixed or frozen, until when and why.

import { prose, row, table } from "./dom.js";
import { none } from "./marks.js";
import { clock, duration } from "./words.js";

export function people(fleet, now) {
  const rows = [...fleet.freezes.map(freeze), ...fleet.overrides.map(override)];
  if (!rows.length) return none("No override and no freeze stands.");
  rows.sort((a, b) => a.ends - b.ends);
  return table("Overrides and freezes in force, the next to end first", ["of", "what", "until", "by", "reason", "id"],
    rows.map(({ id, on, what, ends, by, reason }) => row(id, on, what, `${clock(ends, now)} (${left(ends - now)})`, by, prose(reason), id)));
}

function left(seconds) {
  return seconds > 0 ? `${duration(seconds)} left` : "ended";
}

function freeze(f) {
  const what = f.direction === "all" ? "frozen" : `frozen (${f.direction})`;
  return { id: f.id, on: f.workload || f.model || "all", what, ends: f.expires_at, by: f.actor, reason: f.reason };
}

function override(o) {
  const on = o.server ? `${o.model} on ${o.server}` : o.workload || o.model;
  const what = o.version ? `${o.kind} to version ${o.version}`
    : o.min !== null ? `${o.kind} ${o.min} to ${o.max}`
    : o.instances !== null ? `${o.kind} ${o.instances}`
    : o.kind;
  return { id: o.id, on, what, ends: o.expires_at, by: o.actor, reason: o.reason };
}
