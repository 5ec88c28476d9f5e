// The page: one run in detail, and all of them compared where there are several.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { command, getJSON, Rows, Run, Status } from "./api";
import { Chart } from "./charts";
import { themeChanged } from "./color";
import { Compare } from "./compare";
import { byId, el } from "./dom";
import { figures } from "./figures";
import { drawHead, drawMember, drawOutcomes, drawPhases } from "./panels";
import { Player } from "./play";
import { Store } from "./store";
import { Tree } from "./tree";

class Page {
  store!: Store;
  tree!: Tree;
  player!: Player;
  charts: Chart[] = [];
  compare: Compare | null = null;
  connected = false;
  /** Milliseconds from the start of the page to the first complete drawing. */
  drawn: number | null = null;
  /** Messages that came, by kind. */
  messages: Record<string, number> = {};
  private events: EventSource | null = null;
  private frame = 0;
  private familyAsked = 0;
  private familyTimer = 0;

  constructor(readonly runs: Run[]) {}

  async show(number: number): Promise<void> {
    this.events?.close();
    const run = this.runs[number];
    this.store = new Store(run);
    const store = this.store;
    this.charts = [];
    byId("returns").replaceChildren(this.chart({ title: run.minimise ? "return (less is better)" : "return", metric: "train_return",
      about: "mean return of the episodes since the last interval, or of the last 100", height: 340, returns: true }));
    byId("hypers").replaceChildren(...run.hyperparameters.map((h) => this.chart({ title: h.name + (h.log ? " (log)" : ""), metric: h.name,
      about: h.min === null ? "" : `from ${h.min} to ${h.max}`, height: 190, hyper: h })));
    byId("hypers-panel").hidden = run.hyperparameters.length === 0;
    byId("figures").replaceChildren(...figures.map(([metric, title, about]) => this.chart({ title, metric, about, height: 170 })));
    byId("tree").replaceChildren();
    this.tree = new Tree(store, byId("tree"));
    byId("stage").replaceChildren();
    const member = this.player?.member;
    this.player?.stop();
    this.player = new Player(store, byId("stage"), byId("played"));
    if (member !== undefined && member < run.population) this.player.member = member;
    this.fillMembers();
    byId("note").textContent = run.members.length < run.population
      ? `Curves and lanes are of ${run.members.length} of the ${run.population} members, evenly chosen; best and median are of all.` : "";
    store.onChange(() => this.refresh());
    drawHead(run, true);
    drawPhases(run);
    await Promise.all([store.load(), store.loadFamily()]);
    this.compare?.drawTable(number);
    this.listen(number);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      this.drawn ??= performance.now();
    }));
  }

  private chart(options: ConstructorParameters<typeof Chart>[1]): HTMLElement {
    const chart = new Chart(this.store, options);
    this.charts.push(chart);
    return chart.element;
  }

  private fillMembers(): void {
    const run = this.store.run;
    const select = byId<HTMLSelectElement>("player-member");
    const options = [el("option", { value: "-1" }, "best member")];
    const many = Math.min(run.population, 1024);
    for (let m = 0; m < many; m++) options.push(el("option", { value: String(m) }, `member ${m}`));
    select.replaceChildren(...options);
    select.value = String(this.player.member);
  }

  /** Draws what has changed in the next frame. */
  private refresh(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const began = performance.now();
      for (const chart of this.charts) chart.draw();
      const charts = performance.now();
      performance.measure("charts", { start: began, end: charts });
      this.tree.draw();
      performance.measure("tree", { start: charts, end: performance.now() });
      drawMember(this.store, this.tree);
      drawOutcomes(this.store);
      byId("unzoom").hidden = this.store.range === null;
    });
  }

  private listen(number: number): void {
    const h = this.store.history;
    const events = new EventSource(`/api/events?run=${number}&from=${h.generation}-${h.updates}`);
    this.events = events;
    const on = (kind: string, handle: (data: unknown) => void) =>
      events.addEventListener(kind, (e) => {
        this.messages[kind] = (this.messages[kind] ?? 0) + 1;
        handle(JSON.parse((e as MessageEvent).data));
      });
    events.onopen = () => this.connection(true);
    events.onerror = () => this.connection(false);
    on("status", (s) => this.status(s as Status));
    on("rows", (rows) => this.store.rows(rows as Rows));
    on("resync", () => void this.store.load());
    on("end", () => {
      events.close();
      this.connection(false);
      byId("ended").hidden = false;
    });
  }

  private connection(up: boolean): void {
    this.connected = up;
    document.documentElement.dataset.connected = String(up);
    drawHead(this.store.run, up);
  }

  private status(s: Status): void {
    const run = this.runs[s.run];
    Object.assign(run, s);
    this.compare?.drawTable(this.store.run.run);
    void this.compare?.refresh(s.run);
    if (run !== this.store.run) return;
    drawHead(run, this.connected);
    drawPhases(run);
    this.buttons();
    if (this.store.family && s.family !== this.store.family.version) this.askFamily();
  }

  /** Asks for a family that has changed: that of a long run is large. */
  private askFamily(): void {
    if (this.familyTimer) return;
    const wait = Math.max(this.familyAsked + 1500 - performance.now(), 0);
    this.familyTimer = window.setTimeout(() => {
      this.familyTimer = 0;
      this.familyAsked = performance.now();
      void this.store.loadFamily();
    }, wait);
  }

  buttons(): void {
    const run = this.store.run;
    const live = run.here !== null && ["running", "pausing", "paused"].includes(run.state);
    byId("controls").hidden = !live;
    const pause = byId("pause");
    pause.textContent = run.state === "running" ? "Pause" : "Continue";
    byId<HTMLButtonElement>("stop").disabled = run.here?.stopping ?? false;
  }

  restyle(): void {
    themeChanged();
    for (const chart of this.charts) chart.restyle();
    this.tree.redraw();
    this.player.draw();
    this.compare?.restyle();
    this.compare?.drawTable(this.store.run.run);
  }
}

function wireButtons(page: Page): void {
  const say = (text: string) => {
    byId("answer").textContent = text;
  };
  const ask = async (name: string, done: string) => {
    const problem = await command(page.store.run.run, name);
    say(problem || done);
  };
  byId("checkpoint").addEventListener("click", () => void ask("checkpoint", "A checkpoint is written after this update."));
  byId("pause").addEventListener("click", () => {
    const run = page.store.run.state === "running";
    void ask(run ? "pause" : "continue", run ? "The run stands still after this update." : "The run goes on.");
  });
  const stop = byId("stop");
  let sure = 0;
  stop.addEventListener("click", () => {
    if (!sure) {
      stop.textContent = "Really stop?";
      stop.classList.add("sure");
      sure = window.setTimeout(calm, 5000);
      return;
    }
    window.clearTimeout(sure);
    calm();
    void ask("stop", "The run ends after this update and writes a checkpoint.");
  });
  const calm = () => {
    sure = 0;
    stop.textContent = "Stop";
    stop.classList.remove("sure");
  };
  byId("unzoom").addEventListener("click", () => void page.store.zoom(null));
}

function wirePlayer(page: Page): void {
  const play = byId("player-play");
  play.addEventListener("click", () => {
    page.player.playing = !page.player.playing;
    play.textContent = page.player.playing ? "Pause" : "Play";
  });
  byId<HTMLSelectElement>("player-member").addEventListener("change", (e) => page.player.choose(Number((e.target as HTMLSelectElement).value)));
  byId<HTMLSelectElement>("player-speed").addEventListener("change", (e) => {
    page.player.speed = Number((e.target as HTMLSelectElement).value);
  });
}

/** Light, dark, or as the system has it; remembered by the browser. */
function wireTheme(page: Page): void {
  const select = byId<HTMLSelectElement>("theme");
  select.value = document.documentElement.dataset.theme ?? "system";
  select.addEventListener("change", () => {
    applyTheme(select.value);
    localStorage.setItem("brood-theme", select.value);
    page.restyle();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.restyle());
}

function applyTheme(theme: string): void {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function fillRuns(page: Page): void {
  const select = byId<HTMLSelectElement>("run");
  select.replaceChildren(...page.runs.map((r) => el("option", { value: String(r.run) }, r.name)));
  byId("run-only").textContent = page.runs[0].name;
  byId("run-label").hidden = page.runs.length < 2;
  byId("run-only").hidden = page.runs.length > 1;
  const choose = (run: number) => {
    select.value = String(run);
    void page.show(run);
  };
  select.addEventListener("change", () => choose(Number(select.value)));
  byId("compare-panel").hidden = page.runs.length < 2;
  if (page.runs.length > 1) {
    page.compare = new Compare(page.runs, byId("compare"), byId("runs"), choose);
    page.compare.drawTable(0);
    for (const r of page.runs) void page.compare.refresh(r.run);
  }
}

async function start(): Promise<void> {
  applyTheme(localStorage.getItem("brood-theme") ?? "system");
  themeChanged();
  const page = new Page(await getJSON<Run[]>("/api/runs"));
  (window as unknown as { brood: Page }).brood = page;
  fillRuns(page);
  wireButtons(page);
  wirePlayer(page);
  wireTheme(page);
  await page.show(0);
  page.buttons();
  // The age of a checkpoint grows by itself.
  window.setInterval(() => drawHead(page.store.run, page.connected), 5000);
}

function tell(e: unknown): void {
  const problem = byId("problem");
  problem.textContent = e instanceof Error ? e.message : String(e);
  problem.hidden = false;
}

// What could not be had is told, until the next word from the server.
window.addEventListener("unhandledrejection", (e) => tell(e.reason));
start().catch(tell);
