// Words that need a look: told apart by a sign before them as well as by their colour.

import { el, soft, svg } from "./dom.js";

// `kind`: good, warn, bad, unsure or off.
export function mark(kind, ...text) {
  return el("span", { class: `mark ${kind}` }, text);
}

export function none(text) {
  return el("p", { class: "none" }, soft(text));
}

// Lines below a table: [what, text], or null where there are none. Without a kind they are plain.
export function lines(found, kind = null) {
  if (!found.length) return null;
  return el("ul", { class: "gaps" }, found.map(([what, text]) =>
    el("li", null, kind === null ? el("b", null, what) : mark(kind, what), ` ${text}`)));
}

// A share of 1 as a small bar beside its figure.
export function bar(share, kind) {
  const width = 100 * Math.min(1, Math.max(0, share));
  return svg("svg", { class: "bar", "aria-hidden": "true" },
    svg("rect", { class: "rest", width: "100%", height: "100%", rx: "3" }),
    svg("rect", { class: kind, width: `${width}%`, height: "100%", rx: "3" }));
}
