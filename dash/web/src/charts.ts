// Charts of all members over environment steps, by uPlot.

import uPlot from "uplot";
import { Curve, Hyper } from "./api";
import { css, scoreColor } from "./color";
import { short } from "./format";
import { Store } from "./store";

const sync = uPlot.sync("brood");

export interface ChartOptions {
  title: string;
  metric: string;
  about: string;
  height: number;
  /** Draw best and median, and the exploits. */
  returns?: boolean;
  hyper?: Hyper;
}

/** Markers beyond this many would hide the curves. */
const maxMarkers = 500;

export class Chart {
  readonly element: HTMLElement;
  plot: uPlot | null = null;
  private readonly readout: HTMLElement;
  private readonly box: HTMLElement;
  private dirty = true;
  private visible = false;
  private drawnMembers = -1;
  private ranks: number[] = [];
  /** The member under the pointer. */
  private hovered = -1;
  private updating = false;

  constructor(
    private readonly store: Store,
    private readonly options: ChartOptions,
  ) {
    this.element = document.createElement("figure");
    this.element.className = "chart";
    const caption = document.createElement("figcaption");
    const title = document.createElement("span");
    title.className = "chart-title";
    title.textContent = options.title;
    title.title = options.about;
    this.readout = document.createElement("span");
    this.readout.className = "readout";
    caption.append(title, this.readout);
    this.box = document.createElement("div");
    this.box.className = "plot";
    this.box.style.height = `${options.height}px`;
    this.box.setAttribute("role", "img");
    this.element.append(caption, this.box);
    new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
      this.draw();
    }, { rootMargin: "120px" }).observe(this.element);
    new ResizeObserver(() => {
      if (this.plot && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height: this.options.height });
    }).observe(this.box);
    store.onChange(() => {
      this.dirty = true;
    });
  }

  /** Draws what has changed, where anybody sees it. */
  draw(): void {
    if (!this.dirty || !this.visible || this.box.clientWidth === 0) return;
    const shown = this.store.shown;
    const curves = shown.metrics.get(this.options.metric);
    if (!curves || shown.points.length === 0) return;
    this.dirty = false;
    this.ranks = this.store.ranks();
    const data = [this.store.steps(shown.points), ...curves] as Curve[];
    if (this.options.returns) data.push(shown.median, shown.best);
    this.updating = true;
    if (!this.plot || this.drawnMembers !== curves.length) {
      this.plot?.destroy();
      this.drawnMembers = curves.length;
      this.plot = new uPlot(this.plotOptions(curves.length), data as uPlot.AlignedData, this.box);
    } else {
      this.plot.setData(data as uPlot.AlignedData, false);
    }
    const [from, to] = this.store.range ?? [shown.points[0], Math.max(shown.points[shown.points.length - 1], shown.points[0] + 1)];
    const steps = this.store.run.steps_per_update;
    this.plot.batch(() => {
      this.plot!.setScale("x", { min: from * steps, max: to * steps });
    });
    this.plot.redraw();
    this.updating = false;
    this.describe(curves);
  }

  /** Draws everything anew, in the colours of another theme. */
  restyle(): void {
    this.plot?.destroy();
    this.plot = null;
    this.dirty = true;
    this.draw();
  }

  private describe(curves: Curve[]): void {
    const shown = this.store.shown;
    const end = shown.points.length - 1;
    let low = Infinity;
    let high = -Infinity;
    for (const c of curves) {
      const v = c[end];
      if (v !== null && v !== undefined) {
        low = Math.min(low, v);
        high = Math.max(high, v);
      }
    }
    const now = low <= high ? `; after update ${shown.points[end]} from ${short(low)} to ${short(high)}` : "";
    this.box.setAttribute("aria-label", `${this.options.title} of ${curves.length} members over environment steps${now}`);
    if (this.hovered < 0 && low <= high) this.readout.textContent = low === high ? short(low) : `${short(low)} … ${short(high)}`;
  }

  private stroke(member: number): string {
    const selected = this.store.drawn(this.store.selected);
    if (member === selected) return css("--select");
    return scoreColor(this.ranks[member] ?? 0);
  }

  private plotOptions(members: number): uPlot.Options {
    const grid = { stroke: css("--grid"), width: 1 };
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: css("--faint"), grid, ticks: { show: false }, font };
    const logarithmic = this.options.hyper?.log ?? false;
    const alpha = members > 24 ? 0.55 : 0.8;
    const series: uPlot.Series[] = [{}];
    for (let m = 0; m < members; m++) {
      series.push({ stroke: () => this.stroke(m), width: 1, alpha, points: { show: false }, spanGaps: true });
    }
    if (this.options.returns) {
      series.push({ stroke: css("--text"), width: 2, dash: [6, 4], points: { show: false }, spanGaps: true });
      series.push({ stroke: css("--best"), width: 2.5, points: { show: false }, spanGaps: true });
    }
    return {
      width: this.box.clientWidth,
      height: this.options.height,
      legend: { show: false },
      padding: [8, 14, 0, 0],
      cursor: {
        sync: { key: sync.key, setSeries: false },
        focus: { prox: 24 },
        points: { show: false },
        drag: { x: true, y: false, dist: 6, setScale: false },
        y: false,
      },
      focus: { alpha: 1 },
      scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : {} },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((x) => short(x)), size: 28, space: 60 },
        {
          ...axis,
          size: 52,
          space: 32,
          values: (u, ticks) => ticks.map((x) => (x === null || (logarithmic && !hasLabel(x, u)) ? "" : short(x))),
        },
      ],
      series,
      hooks: {
        setCursor: [(u) => this.pointAt(u)],
        setSelect: [(u) => this.zoomTo(u)],
        ready: [(u) => this.listen(u)],
        drawAxes: this.options.returns ? [(u) => this.drawThreshold(u)] : [],
        draw: [(u) => this.drawOver(u)],
      },
    };
  }

  private listen(u: uPlot): void {
    u.over.addEventListener("dblclick", () => void this.store.zoom(null));
    u.over.addEventListener("click", () => {
      if (this.hovered >= 0 && u.select.width === 0) this.store.select(this.store.run.members[this.hovered]);
    });
    u.over.addEventListener("mouseleave", () => {
      this.hovered = -1;
      const curves = this.store.shown.metrics.get(this.options.metric);
      if (curves) this.describe(curves);
    });
  }

  private zoomTo(u: uPlot): void {
    if (this.updating || u.select.width < 6) return;
    const steps = this.store.run.steps_per_update;
    const from = u.posToVal(u.select.left, "x") / steps;
    const to = u.posToVal(u.select.left + u.select.width, "x") / steps;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 2) void this.store.zoom([Math.round(from), Math.round(to)]);
  }

  /** Says what is under the pointer: of the selected member, or of the nearest. */
  private pointAt(u: uPlot): void {
    const i = u.cursor.idx;
    if (i === null || i === undefined || this.updating) return;
    const x = u.data[0][i];
    const update = Math.round(x / this.store.run.steps_per_update);
    const parts = [`update ${update}`];
    this.hovered = this.nearest(u, i);
    const own = this.hovered >= 0 ? this.hovered : this.store.drawn(this.store.selected);
    if (own >= 0) parts.push(`member ${this.store.run.members[own]}: ${short(u.data[own + 1][i])}`);
    if (this.options.returns) {
      parts.push(`best ${short(u.data[this.drawnMembers + 2][i])}`, `median ${short(u.data[this.drawnMembers + 1][i])}`);
    }
    this.readout.textContent = parts.join("  ·  ");
  }

  /** The member whose curve passes near the pointer; -1: none, or it is elsewhere. */
  private nearest(u: uPlot, i: number): number {
    const top = u.cursor.top ?? -1;
    if (top < 0) return -1;
    let best = -1;
    let distance = 24;
    for (let m = 0; m < this.drawnMembers; m++) {
      const v = u.data[m + 1][i];
      if (v === null || v === undefined) continue;
      const d = Math.abs(u.valToPos(v, "y") - top);
      if (d < distance) [best, distance] = [m, d];
    }
    return best;
  }

  /** A line where the task counts as solved. */
  private drawThreshold(u: uPlot): void {
    const at = this.store.run.threshold;
    const { min, max } = u.scales.y;
    if (!at || min === undefined || max === undefined || min === null || max === null || at < min || at > max) return;
    const y = Math.round(u.valToPos(at, "y", true));
    u.ctx.save();
    u.ctx.strokeStyle = css("--faint");
    u.ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }

  /** Draws the selected member over the others, and the exploits. */
  private drawOver(u: uPlot): void {
    const ctx = u.ctx;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    const selected = this.store.drawn(this.store.selected);
    if (selected >= 0) this.drawCurve(u, selected);
    if (this.options.returns) this.drawExploits(u);
    ctx.restore();
  }

  private drawCurve(u: uPlot, member: number): void {
    const ctx = u.ctx;
    ctx.strokeStyle = css("--select");
    ctx.lineWidth = 2.5 * devicePixelRatio;
    ctx.lineJoin = "round";
    ctx.beginPath();
    const xs = u.data[0];
    const ys = u.data[member + 1];
    for (let i = 0; i < xs.length; i++) {
      const y = ys[i];
      if (y !== null && y !== undefined) ctx.lineTo(u.valToPos(xs[i], "x", true), u.valToPos(y, "y", true));
    }
    ctx.stroke();
  }

  /** A copy is a stroke from the score that was given up to the one that was copied. */
  private drawExploits(u: uPlot): void {
    const steps = this.store.run.steps_per_update;
    const { min, max } = u.scales.x;
    const lives = (this.store.family?.lives ?? []).filter((l) => l.p >= 0 && l.b * steps >= min! && l.b * steps <= max!);
    const selected = this.store.selected;
    const stride = Math.ceil(lives.length / maxMarkers);
    const ctx = u.ctx;
    const size = 3 * devicePixelRatio;
    const colours = { good: css("--good"), bad: css("--bad"), faint: css("--faint") };
    for (let i = 0; i < lives.length; i += stride) {
      const l = lives[i];
      if (l.f === null || l.g === null) continue;
      const x = u.valToPos(l.b * steps, "x", true);
      const from = u.valToPos(l.f, "y", true);
      const to = u.valToPos(l.g, "y", true);
      ctx.fillStyle = ctx.strokeStyle = l.w === undefined ? colours.faint : l.w ? colours.good : colours.bad;
      const dim = selected !== null && l.m !== selected ? 0.45 : 1;
      ctx.globalAlpha = 0.35 * dim;
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, from);
      ctx.lineTo(x, to);
      ctx.stroke();
      ctx.globalAlpha = 0.9 * dim;
      ctx.beginPath();
      ctx.moveTo(x, to - size);
      ctx.lineTo(x + size, to + size);
      ctx.lineTo(x - size, to + size);
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  }
}

/** Whether a logarithmic axis has room for a label: at 1, of few decades at 2 and 5, too. */
function hasLabel(x: number, u: uPlot): boolean {
  const first = Math.round(x / 10 ** Math.floor(Math.log10(x) + 1e-9));
  const decades = Math.log10((u.scales.y.max ?? 1) / (u.scales.y.min ?? 1));
  return first === 1 || (decades < 2.2 && (first === 2 || first === 5)) || decades < 0.7;
}
