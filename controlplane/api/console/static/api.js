// Asking the API of the page's own origin. Addresses are relative, so that a proxy may put a path before them.

const TIMEOUT_MS = 10_000;
const KEY = "controlplane.token";

// The token of this tab. It goes into a header and nowhere else.
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// An answer that is an error. `kind` is the last part of the problem's type, empty where something else answered.
export class Refused extends Error {
  constructor(status, kind, detail) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }

  // Whether another token would help.
  get asks() {
    return this.status === 401 || (this.status === 403 && this.kind === "forbidden");
  }
}

// No answer at all.
export class Unreachable extends Error {}

// The answer of a path as a value. Throws Refused and Unreachable.
export async function ask(path) {
  const answer = await answered(path);
  const body = await read(answer);
  if (answer.ok && body !== undefined) return body;
  if (body === undefined) throw new Refused(answer.status, "", `status ${answer.status}, and no JSON, came from something else`);
  throw new Refused(answer.status, String(body.type ?? "").split(":").at(-1), body.detail ?? `status ${answer.status}`);
}

async function answered(path) {
  const secret = token.get();
  try {
    return await fetch(path, {
      headers: secret ? { Authorization: `Bearer ${secret}` } : {},
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Unreachable(late ? `no answer within ${TIMEOUT_MS / 1000} s` : "the control plane does not answer");
  }
}

async function read(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "SyntaxError") return undefined;
    throw new Unreachable("the answer broke off");
  }
}
