// Colours: of the theme, from the style sheet; of scores, a ramp from violet to green.

export function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function isDark(): boolean {
  return css("--dark") === "1";
}

const steps = 64;
let ramp: string[] = [];
let rampDark: boolean | undefined;

/** The colour of a score between the lowest (0) and the best (1). */
export function scoreColor(t: number): string {
  const dark = isDarkNow;
  if (rampDark !== dark) {
    rampDark = dark;
    ramp = [];
    for (let i = 0; i <= steps; i++) {
      const x = i / steps;
      const light = dark ? 0.36 + 0.46 * x : 0.4 + 0.36 * x;
      ramp.push(`oklch(${light.toFixed(3)} ${(0.11 + 0.06 * x).toFixed(3)} ${(300 - 175 * x).toFixed(1)})`);
    }
  }
  return ramp[Math.round(Math.min(Math.max(t, 0), 1) * steps)];
}

// Asking the style sheet for each line of a chart would be slow.
let isDarkNow = false;
export function themeChanged(): void {
  isDarkNow = isDark();
}

/** The colours of runs that are compared. */
export function runColor(i: number): string {
  const hue = [250, 45, 150, 330, 90, 200, 20, 290][i % 8];
  return isDarkNow ? `oklch(0.78 0.14 ${hue})` : `oklch(0.52 0.16 ${hue})`;
}
