// What was read last, part by part: one that cannot be read keeps what it was, with why and how old it is.

import { ask, Refused } from "./api.js";

const PATHS = {
  fleet: "api/v1/fleet",
  alerts: "api/v1/alerts?firing=true&limit=50",
  decisions: "api/v1/decisions?limit=30&changes_only=true",
  mig: "api/v1/mig",
  ready: "readyz",
};
const PAUSE_S = { least: 1, usual: 15, most: 60 };

export class Board {
  constructor(now = Date.now) {
    this.now = now;
    this.clear();
  }

  clear() {
    this.parts = Object.fromEntries(Object.keys(PATHS).map((name) => [name, { value: null, at: null, why: "" }]));
    this.refused = null;
  }

  // Reads all parts at once. What a token protects is gone when the token is no longer taken.
  async look() {
    const found = await Promise.all(Object.entries(PATHS).map(async ([name, path]) => [name, await this.attempt(path)]));
    const refused = found.map(([, { error }]) => error).find((error) => error instanceof Refused && error.asks);
    if (refused) {
      this.clear();
      this.refused = refused;
      return;
    }
    this.refused = null;
    for (const [name, { value, at, error }] of found) {
      this.parts[name] = error ? { ...this.parts[name], why: error.message } : { value, at, why: "" };
    }
  }

  async attempt(path) {
    try {
      const value = await ask(path);
      return { value, at: this.now() };
    } catch (error) {
      return { error };
    }
  }

  // The time of the control plane now, in unix seconds: that of its last answer, and what went by since.
  get clock_s() {
    const { value, at } = this.parts.fleet;
    return value.at + (this.now() - at) / 1000;
  }

  // So long until the next look: a tick of the control plane.
  get pause_ms() {
    const interval_s = this.parts.fleet.value?.loop.interval_s || PAUSE_S.usual;
    return 1000 * Math.min(PAUSE_S.most, Math.max(PAUSE_S.least, interval_s));
  }
}
