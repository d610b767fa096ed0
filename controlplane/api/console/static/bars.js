// A GPU drawn as a bar of its memory units, each slice where it lies and as wide as it is.

import { el, row, svg, table } from "./dom.js";

const SIGNS = { stays: "", new: "+ ", goes: "− " };
const CHANGES = { stays: "stays", new: "planned and not there", goes: "in the way of what is planned" };

// Bars of a GPU as the API tells it: one where it stays as it is, two where it is to be cut anew.
export function layout(gpu) {
  const changes = gpu.created.length + gpu.destroyed.length > 0;
  const now = marked(gpu.now, gpu.destroyed, "goes");
  const planned = changes ? marked(gpu.planned, gpu.created, "new") : [];
  return [
    bar("now", gpu, now),
    changes ? bar("planned", gpu, planned) : null,
    el("details", { "data-key": "slices" }, el("summary", null, "Slices as a table"),
      slices("Slices now", now, gpu.units), changes ? slices("Slices as planned", planned, gpu.units) : null),
  ];
}

function marked(pieces, differing, mark) {
  const places = new Set(differing.map(place));
  return pieces.map((piece) => ({ ...piece, mark: places.has(place(piece)) ? mark : "stays" }));
}

function place({ profile, start }) {
  return JSON.stringify([profile, start]);
}

function bar(name, gpu, pieces) {
  const all = [...pieces, ...free(pieces, gpu.units)].sort((a, b) => a.start - b.start);
  const told = `${gpu.uuid} ${name}, ${gpu.units} units: ${all.map(words).join("; ")}`;
  return el("div", { class: "layout", "data-key": name }, el("span", { class: "soft" }, name),
    svg("svg", { role: "img", "aria-label": told }, all.map((piece) => drawn(piece, gpu.units))));
}

// What no slice takes.
export function free(pieces, units) {
  const found = [];
  let at = 0;
  for (const { start, size } of [...pieces].sort((a, b) => a.start - b.start)) {
    if (start > at) found.push({ start: at, size: start - at, profile: null });
    at = Math.max(at, start + size);
  }
  if (at < units) found.push({ start: at, size: units - at, profile: null });
  return found;
}

function words(piece) {
  if (piece.profile === null) return `free from ${piece.start} to ${piece.start + piece.size}`;
  const on = piece.models.length ? piece.models.join(", ") : "no copy";
  return `${piece.profile} at ${piece.start}, ${piece.size} wide: ${on}${piece.mark === "stays" ? "" : `, ${CHANGES[piece.mark]}`}`;
}

// In a frame of its own, so that a long name ends at the slice's edge.
function drawn(piece, units) {
  const frame = { x: `${(100 * piece.start) / units}%`, width: `${(100 * piece.size) / units}%`, height: "100%" };
  const isFree = piece.profile === null;
  const kind = isFree ? "free" : `${piece.mark}${piece.models.length ? "" : " idle"}`;
  return svg("svg", { ...frame, class: "slice" },
    svg("title", null, words(piece)),
    svg("rect", { class: kind, width: "100%", height: "100%" }),
    svg("text", { x: "7", y: "19" }, isFree ? "free" : `${SIGNS[piece.mark]}${piece.profile}`),
    isFree ? null : svg("text", { x: "7", y: "37", class: "models" }, piece.models.length ? piece.models.join(", ") : "no copy"));
}

function slices(caption, pieces, units) {
  const rows = pieces.map((piece) => row(place(piece), piece.profile, `${piece.start} of ${units}`, String(piece.size),
    piece.models.length ? piece.models.join(", ") : "no copy", CHANGES[piece.mark], piece.resource));
  return table(caption, ["profile", "start", "size", "models", "change", "what a pod asks for"], rows);
}
