// The run that is shown in detail: its curves, and what they are drawn over.

import { figures } from "./figures";
import { Family, getHistory, getJSON, History, Rows, Run, Status } from "./api";

/** Twice as many values are asked for per curve: fewer where there are many curves. */
const buckets = (members: number) => (members > 32 ? 250 : 400);
/** With so many points, those of the live end included, the history is thinned out again. */
const maxPoints = 2400;

export class Store {
  run: Run;
  history: History = { generation: 0, updates: 0, points: [], best: [], median: [], metrics: new Map() };
  family: Family | null = null;
  /** Updates that are zoomed in on; null: all. */
  range: [number, number] | null = null;
  /** What is drawn while zoomed: of the range alone, finer. */
  zoomed: History | null = null;
  selected: number | null = null;
  /** The life that was chosen on the tree; null: the one that the selected member lives now. */
  life: number | null = null;
  private listeners: (() => void)[] = [];
  private loading: Promise<void> | null = null;
  private again = false;
  private thinned = false;
  /** What follows from the history, until it changes. */
  private known: { ranks?: number[]; range?: [number, number] } = {};

  constructor(run: Run) {
    this.run = run;
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  changed(): void {
    this.known = {};
    for (const listener of this.listeners) listener();
  }

  /** What the charts draw. */
  get shown(): History {
    return this.zoomed ?? this.history;
  }

  steps(points: number[]): number[] {
    return points.map((u) => u * this.run.steps_per_update);
  }

  /** Asks for the history, once more after the present answer where that is under way. */
  load(): Promise<void> {
    if (this.loading) {
      this.again = true;
      return this.loading;
    }
    this.loading = this.fetch().finally(() => {
      this.loading = null;
      if (this.again) {
        this.again = false;
        void this.load();
      }
    });
    return this.loading;
  }

  private async fetch(): Promise<void> {
    const metrics = await this.metricNames();
    this.history = await getHistory(this.run.run, metrics, buckets(this.run.members.length));
    this.thinned = this.history.points.length < this.history.updates;
    this.changed();
  }

  /** A run that has just begun has none yet. */
  private async metricNames(): Promise<string[]> {
    if (!this.run.metrics?.length) {
      const runs = await getJSON<Run[]>("/api/runs");
      this.run.metrics = runs[this.run.run].metrics;
    }
    return this.shownMetrics();
  }

  /** Of what the run has, what the page draws. */
  private shownMetrics(): string[] {
    const wanted = new Set(["train_return", ...figures.map((f) => f[0]), ...this.run.hyperparameters.map((h) => h.name)]);
    return (this.run.metrics ?? []).filter((name) => wanted.has(name));
  }

  async loadFamily(): Promise<void> {
    this.family = await getJSON<Family>(`/api/runs/${this.run.run}/family`);
    this.changed();
  }

  status(s: Status): void {
    Object.assign(this.run, s);
  }

  rows(rows: Rows): void {
    const h = this.history;
    const last = h.updates;
    if (h.points.length === 0 || rows.from > last + 1) {
      void this.load();
      return;
    }
    for (let u = Math.max(rows.from, last + 1); u <= rows.to; u++) {
      const i = u - rows.from;
      h.points.push(u);
      h.best.push(rows.best[i]);
      h.median.push(rows.median[i]);
      rows.metrics.forEach((name, k) => {
        const curves = h.metrics.get(name) ?? []; // of some nothing is drawn
        for (let m = 0; m < curves.length; m++) curves[m].push(rows.values[k][i][m]);
      });
      h.updates = u;
    }
    if (h.points.length > maxPoints) void this.load();
    this.changed();
  }

  async zoom(range: [number, number] | null): Promise<void> {
    this.range = range;
    this.zoomed = null;
    this.changed();
    if (range && this.thinned) {
      const zoomed = await getHistory(this.run.run, this.shownMetrics(), buckets(this.run.members.length), Math.max(range[0], 1), Math.max(range[1], 1));
      if (this.range === range) {
        this.zoomed = zoomed;
        this.changed();
      }
    }
  }

  select(member: number | null, life: number | null = null): void {
    this.selected = member;
    this.life = life;
    this.changed();
  }

  /** The index of a member's curve; -1: it is not drawn. */
  drawn(member: number | null): number {
    return member === null ? -1 : this.run.members.indexOf(member);
  }

  /** Each member's place among all, from the worst (0) to the best (1), by its mean return. */
  ranks(): number[] {
    return (this.known.ranks ??= this.computeRanks());
  }

  private computeRanks(): number[] {
    const means = (this.history.metrics.get("train_return") ?? []).map((curve) => {
      let sum = 0;
      let n = 0;
      for (const v of curve) if (v !== null) [sum, n] = [sum + v, n + 1];
      return n > 0 ? sum / n : this.run.minimise ? Infinity : -Infinity;
    });
    const order = means.map((_, m) => m).sort((a, b) => (means[a] - means[b]) * (this.run.minimise ? -1 : 1));
    const ranks: number[] = new Array(means.length);
    order.forEach((m, i) => (ranks[m] = means.length > 1 ? i / (means.length - 1) : 1));
    return ranks;
  }

  /** The range of returns that colours stretch over: without the few that are far off. */
  scoreRange(): [number, number] {
    return (this.known.range ??= this.computeRange());
  }

  private computeRange(): [number, number] {
    const values: number[] = [];
    for (const curve of this.history.metrics.get("train_return") ?? []) {
      const stride = Math.max(Math.floor(curve.length / 200), 1);
      for (let i = 0; i < curve.length; i += stride) if (curve[i] !== null) values.push(curve[i]!);
    }
    if (values.length === 0) return [0, 1];
    values.sort((a, b) => a - b);
    const low = values[Math.floor(values.length * 0.03)];
    const high = values[values.length - 1];
    return high > low ? [low, high] : [low - 1, high];
  }

  /** 0 for the lowest of the range, 1 for the best. */
  rank(value: number, range: [number, number]): number {
    const t = (value - range[0]) / (range[1] - range[0]);
    return this.run.minimise ? 1 - t : t;
  }
}
