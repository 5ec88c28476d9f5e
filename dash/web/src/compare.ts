// Several runs side by side: best and median of each over environment steps.

import uPlot from "uplot";
import { getHistory, History, Run } from "./api";
import { css, runColor } from "./color";
import { score, short } from "./format";
import { el } from "./dom";

/** A run that goes on is asked again after this long. */
const interval = 2000;

export class Compare {
  plot: uPlot | null = null;
  private histories: (History | null)[];
  private asked: number[];

  constructor(
    private readonly runs: Run[],
    private readonly box: HTMLElement,
    private readonly table: HTMLElement,
    private readonly choose: (run: number) => void,
  ) {
    this.histories = runs.map(() => null);
    this.asked = runs.map(() => 0);
    new ResizeObserver(() => {
      if (this.plot && box.clientWidth > 0) this.plot.setSize({ width: box.clientWidth, height: 260 });
    }).observe(box);
  }

  /** Asks for what a run has gained. */
  async refresh(run: number): Promise<void> {
    const now = performance.now();
    const r = this.runs[run];
    const h = this.histories[run];
    if (h && (h.updates === r.update || now - this.asked[run] < interval)) return;
    this.asked[run] = now;
    this.histories[run] = await getHistory(run, [], 400);
    this.draw();
  }

  draw(): void {
    const known = this.histories.filter((h): h is History => h !== null && h.points.length > 0);
    if (known.length === 0 || this.box.clientWidth === 0) return;
    const tables = this.histories.map((h, i) => {
      const points = h?.points ?? [];
      return [points.map((u) => u * this.runs[i].steps_per_update), h?.median ?? [], h?.best ?? []] as uPlot.AlignedData;
    });
    const data = uPlot.join(tables);
    if (this.plot) this.plot.setData(data);
    else this.plot = new uPlot(this.options(), data, this.box);
  }

  restyle(): void {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
    this.drawTable(-1);
  }

  private options(): uPlot.Options {
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: css("--faint"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font };
    const series: uPlot.Series[] = [{}];
    this.runs.forEach((_, i) => {
      series.push({ stroke: runColor(i), width: 1.25, dash: [5, 4], spanGaps: true, points: { show: false } });
      series.push({ stroke: runColor(i), width: 2.25, spanGaps: true, points: { show: false } });
    });
    return {
      width: this.box.clientWidth,
      height: 260,
      legend: { show: false },
      padding: [8, 14, 0, 0],
      cursor: { points: { show: false }, y: false },
      scales: { x: { time: false } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((x) => short(x)), size: 28, space: 60 },
        { ...axis, values: (_, ticks) => ticks.map((x) => short(x)), size: 52, space: 32 },
      ],
      series,
    };
  }

  /** The runs in figures; a name shows that run in detail below. */
  drawTable(shown: number): void {
    const keys = Object.keys(this.runs[0].settings);
    const differs = keys.filter((k) => new Set(this.runs.map((r) => r.settings[k])).size > 1);
    const head = el("tr", {}, ...["run", "environment", "state", "members", "updates", "exploits", "best", "median", "steps/s", ...differs].map((h) => el("th", { scope: "col" }, h)));
    const rows = this.runs.map((r, i) => {
      const name = el("button", { class: "link", "aria-pressed": String(i === shown) }, el("i", { class: "swatch" }), r.name);
      (name.firstChild as HTMLElement).style.background = runColor(i);
      name.addEventListener("click", () => this.choose(i));
      const cells = [r.env, r.state, String(r.population), `${r.update} / ${r.updates}`, String(r.exploits), score(r.best), score(r.median), short(r.steps_per_second), ...differs.map((k) => r.settings[k])];
      return el("tr", { class: i === shown ? "shown" : "" }, el("th", { scope: "row" }, name), ...cells.map((c) => el("td", {}, c)));
    });
    const focused = document.activeElement?.closest("tr");
    const index = focused && this.table.contains(focused) ? (focused as HTMLTableRowElement).rowIndex : -1;
    this.table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
    if (index > 0) rows[index - 1]?.querySelector("button")?.focus();
  }
}
