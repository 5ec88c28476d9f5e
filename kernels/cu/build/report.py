#!/usr/bin/env python3
"""Writes REPORT.md, what each kernel takes of a device: make ptx-report.

Compiles the kernels as ptx.py does and reads the assembler's figures; exits with 1
where a kernel spills registers or cannot be launched.
"""

import re
import sys

sys.dont_write_bytecode = True  # no __pycache__ among the sources

import model
import nvrtc
import occupancy
import ptx
from nvrtc import BuildError

LAUNCHES = nvrtc.KERNELS / "build" / "launches.txt"
REPORT = nvrtc.KERNELS / "REPORT.md"
SHOWN = ("sm_80", "sm_90")

INTRODUCTION = """\
# What the kernels take

Made by `make ptx-report` from the sources and `build/launches.txt`. Nothing here was measured on a device: the figures are the
assembler's (ptxas of NVRTC {version}), the occupancy follows from them, and the model below is arithmetic.

Threads and dynamic shared memory are the launchers' for the common workload with 8 members.
Blocks per SM is the most a multiprocessor holds at once; occupancy is its share of the multiprocessor's warps. A kernel that spills
registers, or of which not one block fits a multiprocessor of {checked}, fails the report.
"""


def read_launches():
    """Threads and dynamic shared bytes of each kernel, from launches.txt."""
    launches = {}
    for number, line in enumerate(LAUNCHES.read_text().splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) != 3 or not all(f.isdecimal() for f in fields[1:]) or fields[0] in launches:
            raise BuildError(f"{LAUNCHES}:{number}: want a new kernel's name, threads and bytes, have {line!r}")
        launches[fields[0]] = (int(fields[1]), int(fields[2]))
    return launches


def parse(log):
    """The assembler's figures by kernel: registers, stack, spills, static shared memory."""
    entry = re.compile(
        r"Compiling entry function '(?P<kernel>\w+)'.*?"
        r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
        r"Used (?P<registers>\d+) registers(?P<more>[^\n]*)",
        re.DOTALL,
    )
    kernels = {}
    for m in entry.finditer(log):
        shared = re.search(r"(\d+) bytes smem", m["more"])
        kernels[m["kernel"]] = {
            "registers": int(m["registers"]),
            "stack": int(m["stack"]),
            "spills": int(m["stores"]) + int(m["loads"]),
            "shared": int(shared[1]) if shared else 0,
        }
    return kernels


def bounds(text):
    """The largest number of threads that PTX declares for a kernel, where it does."""
    entry = re.compile(r"\.visible \.entry (\w+)\([^)]*\)\s*\.maxntid (\d+)", re.DOTALL)
    return {name: int(threads) for name, threads in entry.findall(text)}


def check_launches(launches, bound):
    """The device refuses a launch beyond the kernel's bounds."""
    for name, threads in bound.items():
        if launches[name][0] > threads:
            raise BuildError(f"{LAUNCHES} has {launches[name][0]} threads for {name}, whose launch bounds are {threads}")


def check_names(kernels, launches):
    for name in sorted(kernels.keys() - launches.keys()):
        raise BuildError(f"{LAUNCHES} has no line for the kernel {name}")
    for name in sorted(launches.keys() - kernels.keys()):
        raise BuildError(f"{LAUNCHES} names {name}, which no source defines")


def table(header, rows):
    """A markdown table with aligned columns: the first to the left, the others to the right."""
    rows = [[str(c) for c in r] for r in rows]
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]

    def line(cells):
        return "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def section(architecture, kernels, launches):
    """The table of one architecture and what is wrong in it."""
    rows, wrong = [], []
    for name, k in sorted(kernels.items()):
        threads, dynamic = launches[name]
        resident = occupancy.blocks(architecture, threads, k["registers"], k["shared"] + dynamic)
        share = occupancy.occupancy(architecture, threads, resident)
        rows.append([name, threads, k["registers"], k["spills"], k["stack"], k["shared"], dynamic, resident, f"{share:.0%}"])
        if k["spills"]:
            wrong.append(f"{name} spills {k['spills']} bytes on {architecture}")
        if resident == 0:
            wrong.append(f"{name} does not fit {architecture}: {threads} threads, {k['registers']} registers, {k['shared'] + dynamic} bytes")
    header = ["kernel", "threads", "registers", "spills", "stack", "static shared", "dynamic shared", "blocks per SM", "occupancy"]
    return f"## {architecture}\n\n{table(header, rows)}\n", wrong


def main():
    if sys.argv[1:]:
        raise BuildError("usage: report.py")
    pinned = nvrtc.settings()
    compiler = nvrtc.Compiler(pinned)
    launches = read_launches()
    sources = ptx.unit(ptx.read_sources())
    parts = [INTRODUCTION.format(version=compiler.version, checked=", ".join(pinned.cubins))]
    wrong = []
    (code, _), *cubins = compiler.compile_all(ptx.UNIT, sources, [pinned.ptx, *pinned.cubins], ["--ptxas-options=-v"])
    for architecture, (_, log) in zip(pinned.cubins, cubins):
        kernels = parse(log)
        check_names(kernels, launches)
        text, found = section(architecture, kernels, launches)
        wrong += found
        if architecture in SHOWN:
            parts.append(text)
    check_launches(launches, bounds(code.decode()))
    parts.append(model.section(table))
    REPORT.write_text("\n".join(parts))
    print(f"{REPORT}: {len(launches)} kernels")
    for line in wrong:
        print(f"report.py: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    nvrtc.run(main)
