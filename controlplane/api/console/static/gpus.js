// GPUs of all nodes and their slices, how busy they are and who uses them; below what is wrong and what is not known.

import { row, soft, table } from "./dom.js";
import { lines, none } from "./marks.js";
import { gaps, signal, unknown } from "./signals.js";
import { counted, gib, percent } from "./words.js";

const ACTIVITY = {
  utilisation: "busy", sm_utilisation: "SMs", tensor_utilisation: "tensor cores", bandwidth_utilisation: "bandwidth",
};
const MEMORY = { memory_used_bytes: "memory used", memory_total_bytes: "memory total" };
const WORDS = {
  ...ACTIVITY, ...MEMORY, power_w: "power", temperature_c: "temperature", throttle_reasons: "throttled by",
  ecc_uncorrected: "ECC errors", last_xid: "last XID", processes: "processes", mig_enabled: "MIG",
  mig_pending: "MIG after a reset", slices: "slices",
};
const SLICE_WORDS = { profile: "profile", ...ACTIVITY, ...MEMORY, placement: "place" };

export function gpus(fleet) {
  const { state, value, why } = fleet.gpus;
  const nodes = gaps(Object.entries(fleet.gpu_nodes).map(([name, up]) => [`node ${name}`, { GPUs: up }]));
  if (state === "missing") return [none(`GPUs are not known: ${why}`), nodes];
  if (!value.length) return [none("No GPU is seen."), nodes];
  const parts = value.flatMap((gpu) => [
    [where(gpu), pick(gpu, WORDS)],
    ...(gpu.slices.value ?? []).map((piece) => [`${where(gpu)} slice ${piece.gpu_instance}`, pick(piece, SLICE_WORDS)]),
  ]);
  return [
    table("GPUs and their MIG slices",
      ["GPU", "name", ...Object.values(ACTIVITY), "memory GiB", "power", "temperature", "used by"], value.flatMap(rows)),
    lines(value.map((gpu) => [where(gpu), troubles(gpu).join("; ")]).filter(([, text]) => text), "bad"),
    gaps(parts),
    nodes,
  ];
}

// What a GPU is called: the node's name and its index there.
export function where(gpu) {
  return gpu.node ? `${gpu.node} ${gpu.index}` : `GPU ${gpu.index}`;
}

function pick(of, words) {
  return Object.fromEntries(Object.entries(words).map(([key, word]) => [word, of[key]]));
}

function rows(gpu) {
  return [
    row(gpu.uuid, where(gpu), gpu.name, ...busy(gpu), memory(gpu), signal(gpu.power_w, (w) => `${w.toFixed(0)} W`),
      signal(gpu.temperature_c, (c) => `${c} °C`), usedBy(gpu, "")),
    ...(gpu.slices.value ?? []).map((piece) => row(JSON.stringify([gpu.uuid, piece.uuid]),
      soft(`slice ${piece.gpu_instance}`), [signal(piece.profile), place(piece)], ...busy(piece), memory(piece), "", "",
      usedBy(gpu, piece.uuid))),
  ];
}

function busy(of) {
  return Object.keys(ACTIVITY).map((key) => signal(of[key], (share) => percent(share)));
}

function memory(of) {
  if (Object.keys(MEMORY).every((key) => of[key].state === "missing")) return unknown();
  return [signal(of.memory_used_bytes, gib), " of ", signal(of.memory_total_bytes, gib)];
}

function place({ placement }) {
  return placement.value === null ? null : soft(` at ${placement.value.start}+${placement.value.size}`);
}

// Servers, each with the number of its processes; a cut GPU is used by slice.
function usedBy(gpu, piece) {
  if (gpu.processes.value === null) return unknown();
  if (!piece && gpu.slices.value?.length) return "";
  const users = new Map();
  for (const process of gpu.processes.value.filter((one) => one.slice === piece)) {
    const server = process.server.value ?? "";
    users.set(server, (users.get(server) ?? 0) + 1);
  }
  const others = users.get("") ?? 0;
  users.delete("");
  const named = Array.from(users, ([server, count]) => (count > 1 ? `${server} (${count})` : server));
  return [...named, ...(others ? [counted(others, "other")] : [])].join(", ") || "nobody";
}

function troubles(gpu) {
  const found = [];
  if (gpu.throttle_reasons.value?.length) found.push(`throttled by ${gpu.throttle_reasons.value.join(", ")}`);
  if (gpu.ecc_uncorrected.value) found.push(counted(gpu.ecc_uncorrected.value, "uncorrected ECC error"));
  if (gpu.last_xid.value) found.push(`last XID error ${gpu.last_xid.value}`);
  if (gpu.mig_enabled.value && gpu.slices.value?.length === 0) found.push("MIG is on, and there is no slice");
  const [mode, pending] = [gpu.mig_enabled.value, gpu.mig_pending.value];
  if (mode !== null && pending !== null && mode !== pending) {
    found.push(`MIG is ${pending ? "on" : "off"} from its next reset on`);
  }
  return found;
}
