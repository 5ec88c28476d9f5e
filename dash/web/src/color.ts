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

/** The step of the ramp for a score between the lowest (0) and the best (1). */
export function rampStep(t: number): number {
  return Math.round(Math.min(Math.max(t, 0), 1) * steps);
}

function currentRamp(): string[] {
  if (rampDark !== isDarkNow) {
    rampDark = isDarkNow;
    pixels = null;
    ramp = [];
    for (let i = 0; i <= steps; i++) {
      const x = i / steps;
      const light = isDarkNow ? 0.36 + 0.46 * x : 0.4 + 0.36 * x;
      ramp.push(`oklch(${light.toFixed(3)} ${(0.11 + 0.06 * x).toFixed(3)} ${(300 - 175 * x).toFixed(1)})`);
    }
  }
  return ramp;
}

/** The colour of a score between the lowest (0) and the best (1). */
export function scoreColor(t: number): string {
  return currentRamp()[rampStep(t)];
}

let pixels: Uint32Array | null = null;

/** The steps of the ramp as pixels of an image. */
export function rampPixels(): Uint32Array {
  const colours = currentRamp();
  if (!pixels) {
    const canvas = document.createElement("canvas");
    canvas.width = colours.length;
    canvas.height = 1;
    const ctx = canvas.getContext("2d", { willReadFrequently: true })!;
    colours.forEach((c, i) => {
      ctx.fillStyle = c;
      ctx.fillRect(i, 0, 1, 1);
    });
    pixels = new Uint32Array(ctx.getImageData(0, 0, colours.length, 1).data.buffer);
  }
  return pixels;
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
