// What fires: burn alerts as the last tick judged them, and what Alertmanagers sent back.

import { el, prose, row, soft, table } from "./dom.js";
import { mark, none } from "./marks.js";
import { clock, counted, duration } from "./words.js";

const KINDS = { page: "bad", critical: "bad", ticket: "warn", warning: "warn" };

export function alerts(fleet, back) {
  const all = fleet.models.flatMap((model) => model.alerts);
  const shown = all.filter((alert) => alert.firing || alert.frozen);
  shown.sort((a, b) => b.firing - a.firing || a.severity.localeCompare(b.severity) || a.since - b.since);
  return [
    shown.length === 0 && fleet.narrowed ? none("No burn alert matches.")
    : all.length === 0 ? none("No objective has burn alerts.")
    : shown.length === 0 ? none("No burn alert fires, and all are judged.")
    : table("Burn alerts", ["severity", "state", "what", "since"], shown.map((alert) => burn(alert, fleet.at))),
    received(back, fleet.at, fleet.narrowed),
  ];
}

function burn(alert, now) {
  const state = alert.firing ? mark(KINDS[alert.severity] ?? "bad", "firing") : mark("unsure", "not firing");
  const frozen = alert.frozen &&
    el("small", null, `cannot be judged since ${duration(now - alert.frozen_since)}: ${alert.frozen}`);
  const key = JSON.stringify([alert.model, alert.objective, alert.severity]);
  return row(key, alert.severity, state, [prose(alert.summary), frozen || null], since(alert.firing ? alert.since : null, now));
}

function received({ value, why }, now, narrowed) {
  if (value === null) return why ? none(`What Alertmanagers say is not read: ${why}`) : null;
  const firing = value.received.filter((alert) => alert.firing);
  if (!firing.length) return null;
  const all = Object.values(value.received_firing).reduce((total, count) => total + count, 0);
  const more = !narrowed && all > firing.length ? none(`and ${counted(all - firing.length, "more")} that fire`) : null;
  return [
    table("From Alertmanagers", ["severity", "alert", "model", "what", "since"], firing.map((alert) => row(
      alert.fingerprint, mark(KINDS[alert.severity] ?? "warn", alert.severity || "without severity"), alert.name,
      alert.model || "–", prose(alert.summary), since(alert.starts_at, now)))),
    more,
  ];
}

function since(at, now) {
  return at === null ? soft("–") : `${clock(at, now)} (${duration(now - at)})`;
}
