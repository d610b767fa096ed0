// The page: looks at the pace of the control plane's ticks, and shows what it sees.

import { go, join, read } from "./address.js";
import { alerts } from "./alerts.js";
import { token } from "./api.js";
import { Board } from "./board.js";
import { decisions } from "./decisions.js";
import { draw, el } from "./dom.js";
import { narrowed, tally } from "./filter.js";
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
  attempt();
  return board.refused ? null : board.pause_ms;
}

function attempt() {
  try {
    show();
  } catch (error) {
    console.error(error);
    draw($("notices"), notice(["bad", `The console failed on what the API told: ${error.message}. It is tried again.`]));
  }
}

function show() {
  const { fleet } = board.parts;
  draw($("notices"), notices(board).map(notice));
  draw($("loop"), fleet.value ? loopLine(fleet.value) : "");
  age();
  refused();
  if (fleet.value !== null) sections();
  const first = $("shown").hidden && fleet.value !== null;
  $("shown").hidden = fleet.value === null;
  if (first) go(read(location.hash).section);
  document.title = titled(fleet.value);
}

function sections() {
  const now = board.clock_s;
  const values = { ...board.parts, fleet: board.parts.fleet.value };
  const { text } = read(location.hash);
  const left = narrowed(values, text);
  const { fleet } = left;
  const told = {
    alerts: () => alerts(fleet, left.alerts),
    models: () => models(fleet),
    objectives: () => objectives(fleet),
    decisions: () => [behind(board.parts.decisions), decisions(left.decisions, now)],
    people: () => people(fleet, now),
    servers: () => servers(fleet),
    gpus: () => gpus(fleet),
    mig: () => [behind(board.parts.mig), mig(left.mig, now)],
  };
  const counts = tally(values, left);
  const of = (id) => counts[id].map((count) => count.toLocaleString("en-US")).join(" of ");
  draw($("glance").querySelector(".body"), glance(values.fleet, board));
  for (const [id, content] of Object.entries(told)) {
    const [some, all] = counts[id];
    draw($(id).querySelector(".body"), text && all ? el("p", { class: "count" }, some ? `${of(id)} shown` : `none of ${all} matches`) : null,
      text && all && !some ? null : content());
  }
  draw($("matches"), text ? `${of("models")} models, ${of("servers")} servers and workloads` : null);
}

// Of a part that could not be read again though the fleet could.
function behind({ value, at, why }) {
  if (value === null || !why || board.parts.fleet.why) return null;
  return notice(["warn", `Read last ${Math.round((board.now() - at) / 1000)} s ago; since then: ${why}`]);
}

function age() {
  draw($("age"), ageLine(board));
}

function titled(fleet) {
  const firing = fleet?.models.flatMap((model) => model.alerts).filter((alert) => alert.firing).length;
  return firing ? `(${firing}) controlplane` : "controlplane";
}

// The control plane wants a token, or another one.
function refused() {
  const form = $("ask");
  if (board.refused) draw($("why"), `The control plane says: ${board.refused.message}`);
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
join($("filter"), attempt);
poll.now();
