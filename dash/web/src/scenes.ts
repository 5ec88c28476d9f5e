// Drawings of the native environments, in the manner of their Gymnasium originals.
// Each gets a canvas of 600 by 400 and a state as package env has it.

type Context = CanvasRenderingContext2D;
type Scene = (ctx: Context, state: number[], action: number[], dark: boolean) => void;

const scenes: Record<string, { draw: Scene; fps: number }> = {
  "CartPole-v1": { draw: cartPole, fps: 50 },
  "Acrobot-v1": { draw: acrobot, fps: 15 },
  "MountainCar-v0": { draw: mountainCar(0.5, (a) => a - 1), fps: 30 },
  "MountainCarContinuous-v0": { draw: mountainCar(0.45, (a) => Math.min(Math.max(a, -1), 1)), fps: 30 },
  "Pendulum-v1": { draw: pendulum, fps: 30 },
};

export function scene(env: string): Scene | undefined {
  return scenes[env]?.draw;
}

export function framesPerSecond(env: string): number {
  return scenes[env]?.fps ?? 30;
}

function ink(dark: boolean): string {
  return dark ? "#e8eaf0" : "#15171c";
}

function line(ctx: Context, ...xy: number[]): void {
  ctx.beginPath();
  for (let i = 0; i < xy.length; i += 2) ctx.lineTo(xy[i], xy[i + 1]);
  ctx.stroke();
}

function disc(ctx: Context, x: number, y: number, r: number, colour: string): void {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
}

/** A bar from a point in a direction (0 is up), with round ends. */
function rod(ctx: Context, x: number, y: number, angle: number, length: number, width: number, colour: string): [number, number] {
  const end: [number, number] = [x + length * Math.sin(angle), y - length * Math.cos(angle)];
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.lineCap = "round";
  line(ctx, x, y, end[0], end[1]);
  return end;
}

/** State: position, its velocity, the pole's angle, its velocity. */
function cartPole(ctx: Context, s: number[], action: number[], dark: boolean): void {
  const scale = 600 / 4.8;
  const x = 300 + s[0] * scale;
  const y = 300;
  ctx.strokeStyle = ink(dark);
  ctx.lineWidth = 1.5;
  line(ctx, 0, y, 600, y);
  ctx.fillStyle = ink(dark);
  ctx.beginPath();
  ctx.roundRect(x - 25, y - 15, 50, 30, 3);
  ctx.fill();
  rod(ctx, x, y - 8, s[2], scale, 10, "#ca9865");
  disc(ctx, x, y - 8, 5, "#8184cb");
  arrow(ctx, x, y + 32, action[0] === 1 ? 1 : -1, dark);
}

/** Where a push goes. */
function arrow(ctx: Context, x: number, y: number, push: number, dark: boolean): void {
  if (Math.abs(push) < 0.02) return;
  const tip = x + 28 * push;
  const back = 6 * Math.sign(push);
  ctx.strokeStyle = dark ? "#8b93a7" : "#8a91a0";
  ctx.lineWidth = 2;
  ctx.lineCap = "round";
  line(ctx, x, y, tip, y);
  line(ctx, tip - back, y - 4, tip, y, tip - back, y + 4);
}

/** State: the angles of both links (0 hangs down, 0 is straight) and their velocities. */
function acrobot(ctx: Context, s: number[], _action: number[], dark: boolean): void {
  const scale = 400 / 4.4;
  const x = 300;
  const y = 200;
  ctx.strokeStyle = ink(dark);
  ctx.lineWidth = 1.5;
  line(ctx, 300 - 2.2 * scale, y - scale, 300 + 2.2 * scale, y - scale);
  const elbow = rod(ctx, x, y, Math.PI - s[0], scale, 17, "#00c4c4");
  const tip = rod(ctx, elbow[0], elbow[1], Math.PI - s[0] - s[1], scale, 17, "#00c4c4");
  disc(ctx, x, y, 9, "#cccc00");
  disc(ctx, elbow[0], elbow[1], 9, "#cccc00");
  disc(ctx, tip[0], tip[1], 3, ink(dark));
}

/** State: position and velocity. */
function mountainCar(goal: number, push: (action: number) => number): Scene {
  const scale = 600 / 1.8;
  const at = (p: number) => (p + 1.2) * scale;
  const height = (p: number) => 400 - (0.45 * Math.sin(3 * p) + 0.55) * scale - 12;
  return (ctx, s, action, dark) => {
    ctx.strokeStyle = ink(dark);
    ctx.lineWidth = 1.5;
    ctx.lineJoin = "round";
    const hill: number[] = [];
    for (let i = 0; i <= 120; i++) {
      const p = -1.2 + (1.8 * i) / 120;
      hill.push(at(p), height(p));
    }
    line(ctx, ...hill);
    const flag = [at(goal), height(goal)];
    line(ctx, flag[0], flag[1], flag[0], flag[1] - 50);
    ctx.fillStyle = "#cccc00";
    ctx.beginPath();
    ctx.moveTo(flag[0], flag[1] - 50);
    ctx.lineTo(flag[0], flag[1] - 38);
    ctx.lineTo(flag[0] + 25, flag[1] - 44);
    ctx.fill();
    ctx.save();
    ctx.translate(at(s[0]), height(s[0]));
    ctx.rotate(-Math.atan(0.45 * 3 * Math.cos(3 * s[0])));
    ctx.fillStyle = ink(dark);
    ctx.beginPath();
    ctx.roundRect(-20, -28, 40, 20, 3);
    ctx.fill();
    disc(ctx, -10, -8, 8, "#808488");
    disc(ctx, 10, -8, 8, "#808488");
    arrow(ctx, 0, -40, push(action[0]), dark);
    ctx.restore();
  };
}

/** State: the angle (0 is up) and its velocity. */
function pendulum(ctx: Context, s: number[], action: number[], dark: boolean): void {
  const scale = 400 / 4.4;
  rod(ctx, 300, 200, -s[0], 1.6 * scale, 22, "#cc4d4d");
  disc(ctx, 300, 200, 5, ink(dark));
  const torque = Math.min(Math.max(action[0], -2), 2);
  if (Math.abs(torque) < 0.02) return;
  // The torque, as an arc around the axle: positive turns against the clock.
  const r = 42;
  const from = -Math.PI / 2;
  const to = from - (torque / 2) * 2.2;
  ctx.strokeStyle = dark ? "#8b93a7" : "#8a91a0";
  ctx.lineWidth = 2.5;
  ctx.beginPath();
  ctx.arc(300, 200, r, from, to, torque > 0);
  ctx.stroke();
  const end = [300 + r * Math.cos(to), 200 + r * Math.sin(to)];
  const turn = to + (torque > 0 ? -Math.PI / 2 : Math.PI / 2);
  line(ctx, end[0] - 8 * Math.cos(turn - 0.5), end[1] - 8 * Math.sin(turn - 0.5), end[0], end[1], end[0] - 8 * Math.cos(turn + 0.5), end[1] - 8 * Math.sin(turn + 0.5));
}
