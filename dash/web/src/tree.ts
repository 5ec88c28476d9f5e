// The family: a lane per member, coloured by its score over time, and a line for
// each copy. The way of the chosen life's weights from the start stands out.

import { css, rampPixels, rampStep } from "./color";
import { score } from "./format";
import { Store } from "./store";
import { Life } from "./api";

/** Room at the left for the members' numbers, below for the updates. */
const left = 44;
const bottom = 22;
const top = 4;

export class Tree {
  readonly canvas = document.createElement("canvas");
  private readonly heat = document.createElement("canvas");
  private dirty = true;
  private lane = 12;
  private width = 0;
  private tip: HTMLElement;

  constructor(
    private readonly store: Store,
    private readonly box: HTMLElement,
  ) {
    this.canvas.tabIndex = 0;
    this.canvas.className = "tree";
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "family tree");
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    box.append(this.canvas, this.tip);
    store.onChange(() => {
      this.dirty = true;
    });
    new ResizeObserver(() => {
      this.dirty = true;
      this.draw();
    }).observe(box);
    this.canvas.addEventListener("click", (e) => {
      const at = this.at(e.offsetX, e.offsetY);
      if (at) this.store.select(at.member, at.life);
    });
    this.canvas.addEventListener("mousemove", (e) => this.hover(e));
    this.canvas.addEventListener("mouseleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("keydown", (e) => this.key(e));
  }

  redraw(): void {
    this.dirty = true;
    this.draw();
  }

  /** The canvas is as high as it has members. */
  private resize(): void {
    const members = this.store.run.members.length;
    this.width = this.box.clientWidth;
    this.lane = members <= 10 ? 30 : members <= 24 ? 18 : members <= 80 ? 10 : 5;
    const height = top + members * this.lane + bottom;
    const scale = devicePixelRatio;
    if (this.canvas.width !== Math.round(this.width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(this.width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${this.width}px`;
      this.canvas.style.height = `${height}px`;
    }
  }

  private x(update: number): number {
    return left + ((this.width - left - 10) * update) / Math.max(this.store.run.update, 1);
  }

  private y(drawn: number): number {
    return top + (drawn + 0.5) * this.lane;
  }

  draw(): void {
    if (!this.dirty || this.box.clientWidth === 0) return;
    this.dirty = false;
    this.resize();
    const ctx = this.canvas.getContext("2d")!;
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, this.width, this.canvas.height);
    const chosen = this.chosen();
    ctx.globalAlpha = chosen >= 0 ? 0.38 : 1;
    this.drawHeat(ctx);
    this.drawCopies(ctx);
    ctx.globalAlpha = 1;
    if (chosen >= 0) this.drawAncestry(ctx, chosen);
    this.drawAxes(ctx);
    const what = chosen >= 0 ? ` Member ${this.store.selected} is chosen.` : "";
    this.canvas.setAttribute("aria-label", `Family tree of ${this.store.run.population} members with ${this.store.family?.exploits ?? 0} copies. ` +
      `Up and down choose a member, left and right an earlier or later life, Escape none.${what}`);
  }

  /** The life whose way is shown; -1: none. */
  chosen(): number {
    const { family, selected, life } = this.store;
    if (!family || selected === null) return -1;
    if (life !== null && family.lives[life]?.m === selected) return life;
    return family.current[selected] ?? -1;
  }

  /** The lives that a life's weights passed through, the first one first. */
  ancestry(life: number): number[] {
    const line: number[] = [];
    for (let id = life; id >= 0; id = this.store.family!.lives[id].p) line.unshift(id);
    return line;
  }

  /** Each lane is an image one pixel high, which is stretched to its place. */
  private drawHeat(ctx: CanvasRenderingContext2D): void {
    const curves = this.store.history.metrics.get("train_return") ?? [];
    const points = this.store.history.points;
    if (curves.length === 0 || points.length === 0) return;
    const columns = Math.max(Math.round((this.x(this.store.run.update) - left) * devicePixelRatio), 1);
    // The point that is drawn at each column: the last one that is not after it.
    const of = new Int32Array(columns);
    for (let c = 0, i = 0; c < columns; c++) {
      const update = ((c + 0.5) * this.store.run.update) / columns + 1;
      while (i + 1 < points.length && points[i + 1] <= update) i++;
      of[c] = i;
    }
    const image = new ImageData(columns, curves.length);
    const pixels = new Uint32Array(image.data.buffer);
    const range = this.store.scoreRange();
    const colours = rampPixels();
    curves.forEach((curve, m) => {
      for (let c = 0; c < columns; c++) {
        const v = curve[of[c]];
        if (v !== null && v !== undefined) pixels[m * columns + c] = colours[rampStep(this.store.rank(v, range))];
      }
    });
    this.heat.width = columns;
    this.heat.height = curves.length;
    this.heat.getContext("2d")!.putImageData(image, 0, 0);
    const height = this.lane * (this.lane >= 10 ? 0.72 : 0.9);
    ctx.imageSmoothingEnabled = false;
    const width = this.x(this.store.run.update) - left;
    for (let m = 0; m < curves.length; m++) ctx.drawImage(this.heat, 0, m, columns, 1, left, this.y(m) - height / 2, width, height);
  }

  private drawCopies(ctx: CanvasRenderingContext2D): void {
    const lives = this.store.family?.lives ?? [];
    ctx.strokeStyle = css("--text");
    ctx.fillStyle = css("--text");
    ctx.lineWidth = 1;
    const before = ctx.globalAlpha;
    const many = lives.length > 600;
    ctx.globalAlpha = before * (many ? 0.3 : 0.55);
    // Many are one path: that is faster, and they are not told apart anyway.
    if (many) ctx.beginPath();
    for (const l of lives) if (l.p >= 0) this.copy(ctx, l, many);
    if (many) ctx.stroke();
    ctx.globalAlpha = before;
  }

  /** A copy: from the source's lane down or up to the member's; part: of a path. */
  private copy(ctx: CanvasRenderingContext2D, l: Life, part: boolean): void {
    const from = this.store.drawn(l.s);
    const to = this.store.drawn(l.m);
    if (from < 0 || to < 0) return;
    const x = this.x(l.b);
    const y0 = this.y(from);
    const y1 = this.y(to);
    const bend = Math.min(14, Math.abs(y1 - y0) / 3);
    if (!part) ctx.beginPath();
    ctx.moveTo(x - bend, y0);
    ctx.bezierCurveTo(x, y0, x - bend, y1, x, y1);
    if (part) return;
    ctx.stroke();
    ctx.beginPath();
    ctx.arc(x, y1, Math.min(this.lane / 6, 3), 0, 2 * Math.PI);
    ctx.fill();
  }

  private drawAncestry(ctx: CanvasRenderingContext2D, chosen: number): void {
    const lives = this.store.family!.lives;
    const line = this.ancestry(chosen);
    ctx.strokeStyle = css("--select");
    ctx.fillStyle = css("--select");
    ctx.lineWidth = Math.max(Math.min(this.lane / 4, 4), 2);
    ctx.lineJoin = ctx.lineCap = "round";
    line.forEach((id, i) => {
      const l = lives[id];
      const m = this.store.drawn(l.m);
      if (m < 0) return;
      const end = i + 1 < line.length ? lives[line[i + 1]].b : l.e >= 0 ? l.e : this.store.run.update;
      ctx.beginPath();
      ctx.moveTo(this.x(l.b), this.y(m));
      ctx.lineTo(this.x(end), this.y(m));
      ctx.stroke();
      if (l.p >= 0) this.copy(ctx, l, false);
    });
  }

  private drawAxes(ctx: CanvasRenderingContext2D): void {
    const members = this.store.run.members;
    ctx.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    const every = Math.ceil(14 / this.lane);
    members.forEach((m, i) => {
      const chosen = m === this.store.selected;
      if (!chosen && i % every !== 0) return;
      if (!chosen && every > 1 && this.store.selected !== null && Math.abs(i - this.store.drawn(this.store.selected)) < every) return;
      ctx.fillStyle = chosen ? css("--select") : css("--faint");
      ctx.fillText(String(m), left - 8, this.y(i));
    });
    ctx.textBaseline = "alphabetic";
    ctx.fillStyle = css("--faint");
    const y = top + members.length * this.lane + 15;
    const updates = this.store.run.update;
    const step = niceStep(updates / Math.max(this.width / 110, 2));
    for (let u = 0; u <= updates; u += step) {
      ctx.textAlign = u === 0 ? "left" : this.x(u) > this.width - 30 ? "right" : "center";
      ctx.fillText(u === 0 ? "update 0" : String(u), this.x(u), y);
    }
  }

  /** What lies at a place of the canvas. */
  at(x: number, y: number): { member: number; life: number | null } | null {
    const drawn = Math.floor((y - top) / this.lane);
    const member = this.store.run.members[drawn];
    if (member === undefined || drawn < 0) return null;
    const update = ((x - left) * this.store.run.update) / (this.width - left - 10);
    const lives = this.store.family?.lives ?? [];
    let life: number | null = null;
    lives.forEach((l, id) => {
      if (l.m === member && l.b <= Math.max(update, 0)) life = id;
    });
    return { member, life };
  }

  /** Where a member's lane is, for whoever wants to point at it. */
  laneOf(member: number): { x: number; y: number } {
    return { x: this.width - 20, y: this.y(this.store.drawn(member)) };
  }

  private hover(e: MouseEvent): void {
    const at = this.at(e.offsetX, e.offsetY);
    this.tip.hidden = !at;
    if (!at) return;
    const l = at.life === null ? undefined : this.store.family?.lives[at.life];
    this.tip.textContent = !l
      ? `member ${at.member}`
      : l.p < 0
        ? `member ${at.member}, from the start`
        : `member ${at.member}, copied member ${l.s} at update ${l.b} (${score(l.f)} → ${score(l.g)})`;
    this.tip.style.left = `${Math.min(e.offsetX + 12, this.width - 250)}px`;
    this.tip.style.top = `${e.offsetY + 14}px`;
  }

  private key(e: KeyboardEvent): void {
    const members = this.store.run.members;
    const now = this.store.drawn(this.store.selected);
    const move = (to: number) => this.store.select(members[Math.min(Math.max(to, 0), members.length - 1)]);
    switch (e.key) {
      case "ArrowDown":
        move(now + 1);
        break;
      case "ArrowUp":
        move(now < 0 ? members.length - 1 : now - 1);
        break;
      case "ArrowLeft":
      case "ArrowRight": {
        if (now < 0) return;
        const lives = this.store.family?.lives ?? [];
        const own = lives.map((_, id) => id).filter((id) => lives[id].m === this.store.selected);
        const i = own.indexOf(this.chosen()) + (e.key === "ArrowLeft" ? -1 : 1);
        if (own[i] !== undefined) this.store.select(this.store.selected, own[i]);
        break;
      }
      case "Home":
        move(0);
        break;
      case "End":
        move(members.length - 1);
        break;
      case "Escape":
        this.store.select(null);
        break;
      default:
        return;
    }
    e.preventDefault();
  }
}

/** A round number near x: 1, 2 or 5 times a power of ten. */
export function niceStep(x: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(x, 1)));
  for (const n of [1, 2, 5, 10]) if (n * power >= x) return n * power;
  return 10 * power;
}
