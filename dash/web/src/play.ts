// A member playing: episodes of the newest checkpoint, one after the other.

import { Episode, getJSON } from "./api";
import { scene, framesPerSecond } from "./scenes";
import { score } from "./format";
import { css, isDark } from "./color";
import { Store } from "./store";

export class Player {
  readonly canvas = document.createElement("canvas");
  private episode: Episode | null = null;
  private frame = 0;
  private number = 0;
  private elapsed = 0;
  private last = 0;
  playing = true;
  speed = 1;
  /** -1: the best. */
  member = -1;
  private visible = false;
  private stopped = false;
  private asking = false;
  private restAt = 0;
  /** What the canvas shows, for whoever reads and for tests. */
  info = "";

  constructor(
    private readonly store: Store,
    private readonly box: HTMLElement,
    private readonly caption: HTMLElement,
  ) {
    this.canvas.setAttribute("role", "img");
    box.append(this.canvas);
    new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
    }).observe(box);
    new ResizeObserver(() => this.draw()).observe(box);
    requestAnimationFrame((now) => this.tick(now));
  }

  /** Another run's player takes its place. */
  stop(): void {
    this.stopped = true;
  }

  choose(member: number): void {
    this.member = member;
    this.episode = null;
    this.restAt = 0;
  }

  private tick(now: number): void {
    if (this.stopped) return;
    const passed = Math.min((now - this.last) / 1000, 0.1);
    this.last = now;
    requestAnimationFrame((next) => this.tick(next));
    if (!this.visible) return;
    if (!this.episode) {
      if (now >= this.restAt) void this.next(now);
      return;
    }
    if (!this.playing) return;
    this.elapsed += passed * this.speed;
    const frame = Math.min(Math.floor(this.elapsed * framesPerSecond(this.episode.env)), this.episode.states.length - 1);
    if (frame !== this.frame) {
      this.frame = frame;
      this.draw();
    }
    // The end stays to be seen for a moment.
    if (this.elapsed * framesPerSecond(this.episode.env) > this.episode.states.length + 20) void this.next(now);
  }

  /** Asks for the next episode, of a newer checkpoint where there is one. */
  private async next(now: number): Promise<void> {
    const member = this.member >= 0 ? this.member : (this.store.run.best_member ?? 0);
    if (this.asking) return;
    this.asking = true;
    try {
      const wanted = this.member;
      const episode = await getJSON<Episode>(`/api/runs/${this.store.run.run}/episode?member=${member}&episode=${this.number++}`);
      if (wanted !== this.member) return;
      this.episode = episode;
      this.frame = 0;
      this.elapsed = 0;
      this.draw();
    } catch (e) {
      this.episode = null;
      this.restAt = now + 2000;
      this.say(e instanceof Error ? e.message : String(e));
      this.draw();
    } finally {
      this.asking = false;
    }
  }

  private say(text: string): void {
    this.info = text;
    this.caption.textContent = text;
  }

  draw(): void {
    const width = this.box.clientWidth;
    if (width === 0) return;
    const height = Math.round((width * 2) / 3);
    const scale = devicePixelRatio;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const ctx = this.canvas.getContext("2d")!;
    // Scenes are drawn as if the canvas were 600 wide and 400 high.
    ctx.setTransform((scale * width) / 600, 0, 0, (scale * height) / 400, 0, 0);
    ctx.fillStyle = css("--scene");
    ctx.fillRect(0, 0, 600, 400);
    const e = this.episode;
    if (!e) return;
    const draw = scene(e.env);
    if (!draw) {
      this.say(`There is no drawing of ${e.env}: its states are ${e.states[0].length} numbers. Return ${score(e.return)} in ${e.actions.length} steps.`);
      return;
    }
    const so = e.rewards.slice(0, this.frame).reduce((a, b) => a + b, 0);
    draw(ctx, e.states[this.frame], e.actions[Math.min(this.frame, e.actions.length - 1)], isDark());
    this.say(`member ${e.member}, checkpoint of update ${e.update}  ·  step ${this.frame} of ${e.actions.length}  ·  return ${score(so)}`);
    this.canvas.setAttribute("aria-label", `Member ${e.member} plays ${e.env}: an episode of ${e.actions.length} steps with return ${score(e.return)}`);
  }
}
