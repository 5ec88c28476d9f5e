// What the server says, and how to ask it.

export interface Status {
  run: number;
  name: string;
  dir: string;
  env: string;
  state: "running" | "pausing" | "paused" | "finished" | "interrupted" | "gone";
  problem?: string;
  population: number;
  update: number;
  updates: number;
  steps_per_update: number;
  exploits: number;
  best: number | null;
  best_member: number | null;
  median: number | null;
  generation: number;
  family: number;
  steps_per_second: number | null;
  checkpoint: { update: number; written: number } | null;
  writer?: string;
  here: null | {
    phases: { name: string; share: number }[] | null;
    memory: number;
    heap: number;
    seconds: number;
    stopping: boolean;
  };
}

export interface Hyper {
  name: string;
  log: boolean;
  min: number | null;
  max: number | null;
}

export interface Run extends Status {
  metrics: string[] | null;
  hyperparameters: Hyper[];
  members: number[];
  minimise: boolean;
  threshold: number;
  interval: number;
  settings: Record<string, string>;
}

export interface Life {
  m: number;
  b: number;
  e: number;
  p: number;
  s: number;
  f: number | null;
  g: number | null;
  o?: string;
  w?: boolean;
  q?: boolean;
  h: number[];
}

export interface Outcomes {
  name: string;
  exploits: number;
  judged: number;
  successes: number;
  after: { updates: number; exploits: number; difference: number | null }[];
}

export interface Family {
  version: number;
  names: string[];
  lives: Life[];
  current: number[];
  outcomes: Outcomes[];
  changes: Outcomes[];
  warnings: string[] | null;
  exploits: number;
  surviving_roots: number;
  depth: number;
}

export interface Rows {
  from: number;
  to: number;
  metrics: string[];
  best: (number | null)[];
  median: (number | null)[];
  values: (number | null)[][][];
}

export interface Episode {
  member: number;
  update: number;
  episode: number;
  env: string;
  states: number[][];
  actions: number[][];
  rewards: number[];
  return: number;
}

export type Curve = (number | null)[];

export interface History {
  generation: number;
  updates: number;
  points: number[];
  best: Curve;
  median: Curve;
  metrics: Map<string, Curve[]>;
}

async function get(path: string): Promise<Response> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${path}: ${answer.status}`);
  return answer;
}

export async function getJSON<T>(path: string): Promise<T> {
  return (await get(path)).json();
}

export async function getHistory(run: number, metrics: string[], buckets: number, from?: number, to?: number): Promise<History> {
  const query = new URLSearchParams({ metrics: metrics.join(","), buckets: String(buckets) });
  if (from !== undefined) query.set("from", String(from));
  if (to !== undefined) query.set("to", String(to));
  const asked = performance.now();
  const data = await (await get(`/api/runs/${run}/history?${query}`)).arrayBuffer();
  const came = performance.now();
  performance.measure("history: answer", { start: asked, end: came });
  const size = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
  const n: number = head.points;
  let at = 4 + size;
  const points = Array.from(new Uint32Array(data, at, n));
  at += 4 * n;
  const curve = (): Curve => {
    const values = new Float32Array(data, at, n);
    at += 4 * n;
    const list: Curve = Array.from(values);
    if (values.some((v) => v !== v)) for (let i = 0; i < n; i++) if (values[i] !== values[i]) list[i] = null;
    return list;
  };
  const history: History = { generation: head.generation, updates: head.updates, points, best: curve(), median: curve(), metrics: new Map() };
  for (const name of head.metrics as string[]) {
    history.metrics.set(name, (head.members as number[]).map(curve));
  }
  performance.measure("history: decode", { start: came, end: performance.now() });
  return history;
}

/** Sends a command to a run of the server's process; the text of the error, or empty. */
export async function command(run: number, name: string): Promise<string> {
  try {
    const answer = await fetch(`/api/runs/${run}/${name}`, { method: "POST" });
    return answer.ok ? "" : (await answer.text()).trim();
  } catch {
    return "the server does not answer";
  }
}
