// Readings: known, stale or missing. What is missing is told as missing and is no zero anywhere.

import { el } from "./dom.js";
import { lines } from "./marks.js";
import { duration, number } from "./words.js";

export const UNKNOWN = "not known";

export function unknown() {
  return el("span", { class: "missing" }, UNKNOWN);
}

// A cell: the value, with its age where it is stale. Why it is not known stands below the table.
export function signal(view, form = String) {
  if (view.state === "missing") return unknown();
  if (view.state === "known") return el("span", null, form(view.value));
  return el("span", { class: "stale" }, form(view.value), ` (stale, ${duration(view.age_s)} old)`);
}

// Signals added up: what is missing is not 0, so that a part of a sum is told as the least that it can be.
export function sum(views) {
  const told = views.filter((view) => view.state !== "missing");
  const stale = told.filter((view) => view.state === "stale");
  return {
    value: told.length ? told.reduce((total, view) => total + view.value, 0) : null,
    missing: views.length - told.length,
    of: views.length,
    stale_s: stale.length ? Math.max(...stale.map((view) => view.age_s)) : null,
  };
}

export function total(found, form = number) {
  if (found.value === null) return unknown();
  const notes = [];
  if (found.missing) notes.push(`${found.missing} of ${found.of} ${UNKNOWN}`);
  if (found.stale_s !== null) notes.push(`stale, up to ${duration(found.stale_s)} old`);
  const text = `${found.missing ? "at least " : ""}${form(found.value)}`;
  return notes.length ? el("span", { class: "stale" }, text, ` (${notes.join("; ")})`) : el("span", null, text);
}

// Lines below a table: what is not known and why, one for all that lack the same. `lacking`: [name, {word: view}].
export function gaps(lacking) {
  const alike = new Map();
  for (const [name, views] of lacking) {
    const whys = new Map();
    for (const [word, view] of Object.entries(views)) {
      if (view.state !== "known") whys.set(view.why, [...(whys.get(view.why) ?? []), word]);
    }
    if (!whys.size) continue;
    const all = Object.keys(views).length;
    const text = Array.from(whys, ([why, words]) => `${words.length === all && all > 1 ? "all of it" : words.join(", ")}: ${why}`).join("; ");
    alike.set(text, [...(alike.get(text) ?? []), name]);
  }
  return lines(Array.from(alike, ([text, names]) => [several(names), text]));
}

function several(names) {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `${names.slice(0, 3).join(", ")}${more}`;
}
