"""Learning curves of several programs and seeds in one table and one picture.

usage: curves.py TITLE OUT NAME=PATH[,PATH...] ...

A PATH is a run folder of brood or a curve by sb3_gymnasium.py; those of one NAME are
seeds. Writes OUT.csv, a row for every 10 updates of 2,048 steps and a column for each
seed, the mean true return of the episodes that ended in them; and OUT.svg, in which the
strong line is the mean over seeds.

Needs: pip install matplotlib
"""

import csv
import json
import os
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

UPDATES_PER_ROW = 10


def of_run(folder):
    """The curve of a run of one agent, from its metrics."""
    curve, returns, episodes = {}, 0.0, 0
    with open(os.path.join(folder, "metrics.jsonl")) as f:
        for line in f:
            m = json.loads(line)
            if m["episodes"]:
                returns += m["episodes"] * m["episode_return_mean"]
                episodes += m["episodes"]
            if m["update"] % UPDATES_PER_ROW == 0:
                curve[m["env_steps"]] = returns / episodes if episodes else None
                returns, episodes = 0.0, 0
    return curve


def of_csv(path):
    with open(path, newline="") as f:
        return {int(r["env_steps"]): float(r["mean_return"]) if r["mean_return"] else None for r in csv.DictReader(f)}


def mean(values):
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def main(title, out, *programs):
    groups = {}
    for program in programs:
        name, _, paths = program.partition("=")
        groups[name] = [of_run(p) if os.path.isdir(p) else of_csv(p) for p in paths.split(",")]
    steps = sorted({s for curves in groups.values() for c in curves for s in c})
    with open(out + ".csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(["env_steps"] + [f"{name} {i + 1}" for name, curves in groups.items() for i in range(len(curves))])
        for s in steps:
            values = [c.get(s) for curves in groups.values() for c in curves]
            w.writerow([s] + ["" if v is None else f"{v:.1f}" for v in values])

    plt.rcParams.update({"svg.hashsalt": "brood", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(7.2, 3.6))
    for (name, curves), color in zip(groups.items(), ("#2563eb", "#0f766e", "#d97706", "#db2777")):
        for c in curves:
            axes.plot(list(c), list(c.values()), color=color, linewidth=0.8, alpha=0.45)
        axes.plot(steps, [mean([c.get(s) for c in curves]) for s in steps], color=color, linewidth=2.2, label=name)
    axes.set(title=title, xlabel="environment steps", ylabel="mean return in training")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out + ".svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
