// How the control plane itself is doing: a line, how old what is shown is, and what is wrong.

import { el } from "./dom.js";
import { clock, counted, duration } from "./words.js";

export function loopLine(fleet) {
  const { loop } = fleet;
  if (standsBy(loop)) return `stands by; ${loop.leader} leads, in epoch ${loop.epoch}`;
  if (loop.last_tick_at === null) return "no tick was done yet";
  return `last tick ${duration(fleet.at - loop.last_tick_at)} before that, ${loop.ticks} done, ${loop.skipped} skipped`;
}

export function ageLine(board) {
  const { at, value } = board.parts.fleet;
  return at === null ? "" : `as of ${clock(value.at, value.at)} UTC, ${duration((board.now() - at) / 1000)} ago`;
}

// What has to be said before anything else: [kind, text].
export function notices(board) {
  const { fleet, ready } = board.parts;
  const told = [];
  if (fleet.why) told.push(["bad", unread(fleet)]);
  if (fleet.value === null) return told;
  const { loop, circuits, refusals, at } = fleet.value;
  if (standsBy(loop)) {
    told.push(["info", `This control plane stands by: ${loop.leader} leads, in epoch ${loop.epoch}; it decides and acts. ` +
      "Here is what this one reads itself and what the store holds."]);
  }
  if (!fleet.why && ready.why) told.push(["bad", `It does not do its work: ${ready.why}`]);
  else if (loop.problem) told.push(["bad", loop.problem]);
  if (loop.unwritten_since !== null) {
    told.push(["bad", `${counted(loop.unwritten, "tick")} not written since ${clock(loop.unwritten_since, at)}; nothing is ` +
      `carried out until the store is back, and ticks older than ${duration(loop.unwritten_most_s)} are lost`]);
  }
  if (loop.lost) told.push(["bad", `${counted(loop.lost, "tick")} lost since the start: that time counts as unmeasured`]);
  for (const one of refusals) {
    told.push(["bad", `Alerts reach nobody by ${one.url} since ${clock(one.since, at)}: ${one.why}`]);
  }
  for (const one of circuits) {
    const wait = one.left_s ? `left alone for another ${duration(one.left_s)}` : "the next step tries it";
    told.push(["warn", `${one.target}: ${one.failures} steps in a row found nobody; ${wait}`]);
  }
  return told;
}

export function notice([kind, text]) {
  return el("p", { class: `notice ${kind}` }, text);
}

function standsBy(loop) {
  return loop.leader !== "" && !loop.leading;
}

function unread(fleet) {
  if (fleet.value === null) return `Nothing was read so far: ${fleet.why}. It is tried again.`;
  return `What is shown is of ${clock(fleet.value.at, fleet.value.at)} UTC. Since then: ${fleet.why}. It is tried again.`;
}
