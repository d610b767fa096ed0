// Servers and workloads: whether they answer, how old that is, and what stands against their replicas.

import { el, prose, row, soft, table } from "./dom.js";
import { lines, mark, none } from "./marks.js";
import { gaps, signal, unknown } from "./signals.js";
import { counted, duration, spoken } from "./words.js";

const PHASES = ["ready", "starting", "draining", "terminating"];

export function servers(fleet) {
  return [
    fleet.servers.length === 0 ? none(fleet.narrowed ? "No server matches." : "No server is configured or found.")
    : table("Servers", ["server", "kind", "live", "read", "model control", "starts seen"], fleet.servers.map(server)),
    problems(fleet.servers),
    silent("gateway", fleet.gateways),
    fleet.workloads.length === 0 ? null
    : table("Workloads", ["workload", "kind", ...PHASES, "replicas", "listed", "found by"], fleet.workloads.map(workload)),
    gaps(fleet.workloads.map(({ name, members }) => [name, { servers: members }])),
    obstacles(fleet.workloads),
  ];
}

function server(one) {
  const phase = one.phase && one.phase !== "ready" ? el("small", null, one.phase) : null;
  const read = one.read_age_s === null ? soft("never") : `${duration(one.read_age_s)} ago`;
  return row(one.name, [one.name, phase], one.kind, live(one.live), read, signal(one.control, spoken), String(one.incarnation));
}

function live(view) {
  if (view.state === "missing") return unknown();
  const stale = view.state === "stale" ? ` (stale, ${duration(view.age_s)} old)` : "";
  const kind = stale ? "unsure" : view.value ? "good" : "bad";
  return mark(kind, `${view.value ? "yes" : "no"}${stale}`);
}

function problems(all) {
  const whys = all.map(({ name, problem, live: { why } }) => [name, problem || why]).filter(([, why]) => why);
  return lines(whys.map(([name, why]) => [name, why.startsWith(`${name} `) ? why.slice(name.length + 1) : why]));
}

export function silent(thing, views) {
  return gaps(Object.entries(views).map(([name, view]) => [`${thing} ${name}`, { [thing]: view }]));
}

function workload(one) {
  const { members } = one;
  const counts = PHASES.map((phase) => (members.value === null ? unknown() : signal({ ...members, value: members.value[phase] })));
  const bounds = one.replicas_min === null ? soft("not scaled") : `${one.replicas_min}–${one.replicas_max}`;
  const listed = members.age_s === null ? unknown() : `${duration(members.age_s)} ago`;
  return row(one.name, one.name, one.kind, ...counts, bounds, listed, prose(one.found_by));
}

function obstacles(workloads) {
  const found = workloads.flatMap(({ name, owner, scales, warning, unscheduled }) => [
    owner && [name, `${owner} scales ${scales}: replicas are told only`],
    warning && [name, warning],
    ...[...new Set(unscheduled.map(({ why }) => why))].map((why) => [
      name, `no node takes ${counted(unscheduled.filter((pod) => pod.why === why).length, "replica")}: ${why}`]),
  ]);
  return lines(found.filter(Boolean), "warn");
}
