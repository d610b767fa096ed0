// The page: looks at the pace of the control plane's ticks, and shows what it sees.

import { alerts } from "./alerts.js";
import { token } from "./api.js";
import { Board } from "./board.js";
import { decisions } from "./decisions.js";
import { el, morph } from "./dom.js";
import { glance } from "./glance.js";
import { gpus } from "./gpus.js";
import { ageLine, loopLine, notice, notices } from "./loop.js";
import { mig } from "./mig.js";
import { models } from "./models.js";
import { objectives } from "./objectives.js";
import { people } from "./people.js";
import { Poll } from "./poll.js";
import { servers } from "./servers.js";

const AGE_MS = 1000;
const board = new Board();
const poll = new Poll(look);
const $ = (id) => document.getElementById(id);

async function look() {
  await board.look();
  if (board.refused?.status === 401) token.forget();
  try {
    show();
  } catch (error) {
    console.error(error);
    put($("notices"), notice(["bad", `The console failed on what the API told: ${error.message}. It is tried again.`]));
  }
  return board.refused ? null : board.pause_ms;
}

function show() {
  const { fleet } = board.parts;
  put($("notices"), notices(board).map(notice));
  put($("loop"), fleet.value ? loopLine(fleet.value) : "");
  age();
  refused();
  $("shown").hidden = fleet.value === null;
  if (fleet.value !== null) sections(fleet.value);
  document.title = titled(fleet.value);
}

function sections(fleet) {
  const now = board.clock_s;
  const shown = {
    glance: glance(fleet, board),
    alerts: alerts(fleet, board),
    models: models(fleet),
    objectives: objectives(fleet),
    decisions: [behind(board.parts.decisions), decisions(board.parts.decisions, now)],
    people: people(fleet, now),
    servers: servers(fleet),
    gpus: gpus(fleet),
    mig: [behind(board.parts.mig), mig(board.parts.mig, now)],
  };
  for (const [id, content] of Object.entries(shown)) put($(id).querySelector(".body"), content);
}

// Of a part that could not be read again though the fleet could.
function behind({ value, at, why }) {
  if (value === null || !why || board.parts.fleet.why) return null;
  return notice(["warn", `Read last ${Math.round((board.now() - at) / 1000)} s ago; since then: ${why}`]);
}

function put(here, content) {
  morph(here, el("div", null, content));
}

function age() {
  put($("age"), ageLine(board));
}

function titled(fleet) {
  const firing = fleet?.models.flatMap((model) => model.alerts).filter((alert) => alert.firing).length;
  return firing ? `(${firing}) controlplane` : "controlplane";
}

// The control plane wants a token, or another one.
function refused() {
  const form = $("ask");
  if (board.refused) put($("why"), `The control plane says: ${board.refused.message}`);
  if (board.refused && form.hidden) {
    form.hidden = false;
    $("token").focus();
  }
  if (!board.refused) form.hidden = true;
  $("forget").hidden = !token.get() || board.refused !== null;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  poll.now();
});
$("forget").addEventListener("click", () => {
  token.forget();
  location.reload();
});
document.addEventListener("visibilitychange", () => poll.now());
setInterval(() => document.hidden || age(), AGE_MS);
poll.now();
