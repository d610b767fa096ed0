// What is left of what was read for who looks for some model, server, workload or node by a part of its name.

import { where } from "./gpus.js";

// Of the parts of a board what the text is found in, in either case. A model is found by its servers and workloads too,
// a server by its models; what holds for all is left. `listed` are the units of a model that are meant themselves.
export function narrowed(parts, text) {
  const wanted = text.trim().toLowerCase();
  const { fleet, alerts, decisions, mig } = parts;
  if (!wanted) return { ...parts, fleet: { ...fleet, models: fleet.models.map((model) => ({ ...model, listed: model.units })) } };
  const is = (...names) => names.some((name) => name && name.toLowerCase().includes(wanted));
  const near = relations(fleet);
  const around = (name) => is(name, ...(near.get(name) ?? []));
  const served = new Map(fleet.models.map((model) => [model.name, model.served_name]));
  const workload = new Map(fleet.servers.map((server) => [server.name, server.workload]));
  const exactly = (model, server) => is(model, served.get(model), server, workload.get(server));
  const held = (one) => (one.server ? exactly(one.model, one.server)
    : one.model || one.workload ? around(one.model) || around(one.workload) : true);
  return {
    fleet: {
      ...fleet,
      narrowed: true,
      models: fleet.models.filter(({ name }) => around(name)).map((model) => (
        { ...model, listed: model.units.filter(({ server }) => exactly(model.name, server)) })),
      servers: fleet.servers.filter(({ name }) => around(name)),
      workloads: fleet.workloads.filter(({ name }) => around(name)),
      gpus: among(fleet.gpus, (gpu) => is(where(gpu), gpu.uuid) || users(gpu).some(around)),
      overrides: fleet.overrides.filter(held),
      freezes: fleet.freezes.filter(held),
    },
    alerts: alerts.value === null ? alerts : { ...alerts, value: {
      ...alerts.value,
      received: alerts.value.received.filter((one) => is(one.name) || around(one.model)),
    } },
    decisions: among(decisions, (one) => exactly(one.model, one.server)),
    mig: mig.value === null ? mig : { ...mig, value: {
      ...mig.value,
      narrowed: true,
      models: mig.value.models.filter(({ name }) => around(name)),
      gpus: among(mig.value.gpus, (gpu) => is(gpu.uuid, gpu.node) || carried(gpu).some((model) => is(model, served.get(model)))),
    } },
  };
}

// What a name has to do with: a model its servers and workloads, a server its workload and models. No two are called alike.
function relations(fleet) {
  const near = new Map();
  const add = (name, other) => near.set(name, (near.get(name) ?? new Set()).add(other));
  const link = (name, other) => add(name, other) && add(other, name);
  for (const { name, workload } of fleet.servers) if (workload) link(name, workload);
  for (const { name, served_name: served, units, workloads } of fleet.models) {
    add(name, served);
    for (const other of [...units.map((unit) => unit.server), ...workloads.map((of) => of.name)]) {
      link(name, other);
      add(other, served);
    }
  }
  return near;
}

function users(gpu) {
  return (gpu.processes.value ?? []).map((process) => process.server.value ?? "");
}

function carried(gpu) {
  return [...gpu.now, ...(gpu.planned ?? [])].flatMap((slice) => slice.models);
}

// A part or signal with what is left of its list; one that has none stays as it is.
function among(of, left) {
  return of.value === null ? of : { ...of, value: of.value.filter(left) };
}

const THINGS = {
  alerts: ({ fleet, alerts }) => [
    ...fleet.models.flatMap((model) => model.alerts).filter((alert) => alert.firing || alert.frozen),
    ...(alerts.value?.received ?? []).filter((alert) => alert.firing)],
  models: ({ fleet }) => fleet.models,
  objectives: ({ fleet }) => fleet.models.flatMap((model) => model.objectives),
  decisions: ({ decisions }) => decisions.value ?? [],
  people: ({ fleet }) => [...fleet.freezes, ...fleet.overrides],
  servers: ({ fleet }) => [...fleet.servers, ...fleet.workloads],
  gpus: ({ fleet }) => fleet.gpus.value ?? [],
  mig: ({ mig }) => [...(mig.value?.gpus.value ?? []), ...(mig.value?.models ?? [])],
};

// How many things of how many each section shows: [shown, all].
export function tally(all, left) {
  return Object.fromEntries(Object.entries(THINGS).map(([section, of]) => [section, [of(left).length, of(all).length]]));
}
