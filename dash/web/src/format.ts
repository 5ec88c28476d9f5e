// Numbers for people.

const units: [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** Few digits: 1.25M, 371k, 0.00123, 3.1e-6. */
export function short(x: number | null | undefined): string {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  for (const [unit, name] of units) {
    if (size >= unit * 0.9995) return trim((x / unit).toPrecision(3)) + name;
  }
  if (size !== 0 && size < 1e-4) return trim(x.toExponential(2));
  return trim(x.toPrecision(3));
}

function trim(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+(e|$)/, "$1") : text;
}

export function score(x: number | null | undefined): string {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  return Math.abs(x) >= 1e5 ? short(x) : x.toFixed(1);
}

export function bytes(x: number): string {
  return x >= 1 << 30 ? `${(x / (1 << 30)).toFixed(1)} GB` : `${Math.round(x / (1 << 20))} MB`;
}

export function age(seconds: number): string {
  if (seconds < 100) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function whole(x: number): string {
  return x.toLocaleString("en-US");
}
