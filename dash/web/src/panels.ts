// What is told in words and figures: the run's state, the chosen member, how
// strategies came out, and where the time goes.

import { Outcomes, Run } from "./api";
import { byId, el } from "./dom";
import { age, bytes, score, short, whole } from "./format";
import { Store } from "./store";
import { Tree } from "./tree";

const states: Record<Run["state"], string> = {
  running: "running",
  pausing: "pausing …",
  paused: "paused",
  finished: "finished",
  interrupted: "stopped",
  gone: "not running",
};

export function drawHead(run: Run, connected: boolean): void {
  document.title = `${run.env} · ${run.name} · brood`;
  byId("env").textContent = run.env;
  const state = byId("state");
  state.textContent = run.here?.stopping && run.state === "running" ? "stopping …" : states[run.state];
  state.dataset.state = run.state;
  state.title = run.writer ?? "";
  byId("progress").setAttribute("value", String(run.updates > 0 ? run.update / run.updates : 0));
  byId("progress").setAttribute("aria-valuetext", `update ${run.update} of ${run.updates}`);
  const problem = byId("problem");
  const live = run.state === "running" || run.state === "pausing" || run.state === "paused";
  problem.textContent = run.problem ?? (connected || !live ? "" : "The server does not answer; trying again …");
  problem.hidden = problem.textContent === "";
  const steps = run.update * run.steps_per_update;
  figure("kpi-best", score(run.best), run.best_member === null ? "" : `member ${run.best_member}`);
  figure("kpi-median", score(run.median), `of ${run.population}`);
  figure("kpi-steps", short(steps), `update ${whole(run.update)} of ${whole(run.updates)}`);
  figure("kpi-speed", short(run.steps_per_second), live ? "steps/s" : "steps/s over all");
  figure("kpi-exploits", whole(run.exploits), run.update > 0 ? `${short((run.exploits / run.update) * run.interval)} per interval` : "");
  const at = run.checkpoint;
  figure("kpi-checkpoint", at ? age((Date.now() - at.written) / 1000) : "–", at ? `old, of update ${whole(at.update)}` : "none yet");
  const memory = byId("kpi-memory");
  memory.parentElement!.hidden = !run.here;
  if (run.here) figure("kpi-memory", bytes(run.here.memory), `${bytes(run.here.heap)} in use by Go`);
}

function figure(id: string, value: string, note: string): void {
  const e = byId(id);
  if (e.textContent !== value) e.textContent = value;
  const small = e.nextElementSibling as HTMLElement;
  if (small.textContent !== note) small.textContent = note;
}

/** Tells of the chosen life: how it came to be, and its values along the way. */
export function drawMember(store: Store, tree: Tree): void {
  const box = byId("member");
  const id = tree.chosen();
  const family = store.family;
  if (id < 0 || !family) {
    box.replaceChildren(el("p", { class: "hint" }, "Choose a member: on the tree, on a curve, or by the arrow keys on the tree."));
    return;
  }
  const life = family.lives[id];
  const line = tree.ancestry(id);
  const range = life.e >= 0 ? `updates ${life.b} to ${life.e}` : `since update ${life.b}`;
  const head = el("h3", {}, `Member ${life.m}`, el("small", {}, ` ${range}`));
  const facts: string[] = [];
  if (life.p < 0) facts.push("It began with the run.");
  else if (life.q) facts.push(`Its weights were not finite; it took over member ${life.s} (${score(life.g)}).`);
  else facts.push(`It gave up ${score(life.f)} and copied member ${life.s} with ${score(life.g)}.`);
  if (life.o) facts.push(`Optimizer: ${life.o}${life.w === undefined ? "" : life.w ? ", kept the score" : ", lost score"}.`);
  const copies = line.length - 1;
  if (copies > 0) facts.push(`Its weights passed through ${new Set(line.map((i) => family.lives[i].m)).size} members by ${copies} ${copies === 1 ? "copy" : "copies"}.`);
  const way = el("ol", { class: "way", "aria-label": "ancestry, from the start" });
  line.forEach((step) => {
    const l = family.lives[step];
    const b = el("button", { class: "chip", title: `update ${l.b}`, "aria-current": String(step === id) }, `${l.m}`);
    b.addEventListener("click", () => store.select(l.m, step));
    way.append(el("li", {}, b));
  });
  box.replaceChildren(head, el("p", {}, facts.join(" ")), way, historyTable(store, line));
}

/** The hyperparameters that the weights were trained with, from the start. */
function historyTable(store: Store, line: number[]): HTMLElement {
  const { names, lives } = store.family!;
  const head = el("tr", {}, ...["update", "member", ...names].map((n) => el("th", { scope: "col" }, n)));
  const rows = line.map((id, i) => {
    const l = lives[id];
    const before = i > 0 ? lives[line[i - 1]].h : null;
    const cells = l.h.map((v, k) => {
      const change = before && before[k] !== v ? (v > before[k] ? " ↑" : " ↓") : "";
      return el("td", {}, short(v) + change);
    });
    return el("tr", {}, el("td", {}, String(l.b)), el("td", {}, String(l.m)), ...cells);
  });
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "hyperparameters along the ancestry" },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows.reverse())));
}

/** How exploits came out: by what was done to the optimizer's state, and by what was explored. */
export function drawOutcomes(store: Store): void {
  const f = store.family;
  table(byId("strategies"), "optimizer state", f?.outcomes ?? []);
  table(byId("changes"), "explored", f?.changes ?? []);
  byId("no-outcomes").hidden = (f?.outcomes.length ?? 0) > 0;
}

function table(at: HTMLElement, title: string, list: Outcomes[]): void {
  at.hidden = list.length === 0;
  const updates = [...new Set(list.flatMap((o) => o.after.map((a) => a.updates)))].sort((a, b) => a - b);
  const head = el("tr", {}, ...[title, "exploits", "kept the score", ...updates.map((u) => `after ${u}`)].map((h) => el("th", { scope: "col" }, h)));
  const rows = list.map((o) => {
    const rate = o.judged > 0 ? o.successes / o.judged : null;
    const meter = el("meter", { min: "0", max: "1", value: String(rate ?? 0) });
    const after = updates.map((u) => {
      const d = o.after.find((a) => a.updates === u)?.difference ?? null;
      return el("td", { class: d === null ? "" : d < 0 ? "bad" : "good" }, d === null ? "–" : (d > 0 ? "+" : "") + short(d));
    });
    return el("tr", {}, el("th", { scope: "row" }, o.name), el("td", {}, whole(o.exploits)),
      el("td", { class: "rate" }, rate === null ? "–" : `${Math.round(100 * rate)} %`, meter), ...after);
  });
  at.replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
}

/** Where the engine's time goes, of a run in the server's process. */
export function drawPhases(run: Run): void {
  const panel = byId("phases-panel");
  const phases = run.here?.phases ?? [];
  panel.hidden = phases.length === 0;
  const rows = phases.map((p) =>
    el("tr", {}, el("th", { scope: "row" }, p.name), el("td", {}, `${(100 * p.share).toFixed(p.share < 0.1 ? 1 : 0)} %`),
      el("td", { class: "wide" }, el("meter", { min: "0", max: "1", value: String(p.share) }))));
  byId("phases").replaceChildren(el("tbody", {}, ...rows));
}
