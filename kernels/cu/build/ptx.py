#!/usr/bin/env python3
"""Compiles all kernels to the images that a cuda build embeds: make ptx.

Writes images/kernels.ptx.gz, images/sm_*.cubin.gz, images/kernels.txt (the names of
the kernels) and images/SHA256SUMS (what was compiled and what came of it, in
sha256sum's format), which image_test.go checks.

    ptx.py           build the images
    ptx.py --check   build them in memory and fail where the committed ones differ
"""

import gzip
import hashlib
import re
import sys

sys.dont_write_bytecode = True  # no __pycache__ among the sources

import nvrtc
from nvrtc import BuildError

IMAGES = nvrtc.KERNELS / "images"
UNIT = "kernels.cu"


def read_sources():
    """All .cu and .cuh files by name, sorted: NVRTC compiles one source per
    program, so one unit includes all .cu files in this order."""
    paths = sorted(p for p in nvrtc.KERNELS.iterdir() if p.suffix in (".cu", ".cuh"))
    sources = {p.name: p.read_bytes() for p in paths}
    if UNIT in sources:
        raise BuildError(f"{UNIT} is the name of the unit that includes all others; rename the file")
    return sources


def unit(sources):
    """The sources and the unit that includes every .cu file."""
    includes = "".join(f'#include "{name}"\n' for name in sources if name.endswith(".cu"))
    return {**sources, UNIT: includes.encode()}


def check_ptx(ptx, pinned):
    """Returns the kernels' names, sorted."""
    found = re.search(rb"^\.version (\S+)$", ptx, re.MULTILINE)
    version = found.group(1).decode() if found else "no .version"
    if version != pinned.ptx_isa:
        raise BuildError(f"the PTX has {version}, compiler.json says {pinned.ptx_isa}: drivers before {pinned.driver} would matter")
    return sorted(n.decode() for n in re.findall(rb"^\s*\.visible \.entry (\w+)\(", ptx, re.MULTILINE))


def check_paths(name, image):
    """No path of this machine may be in an image: the bytes would depend on it."""
    for prefix in {nvrtc.ROOT, nvrtc.CACHE, nvrtc.KERNELS}:
        if str(prefix).encode() in image:
            raise BuildError(f"{name} contains the path {prefix}")


def build(pinned):
    """Returns the content of every file of images/ by its name."""
    sources = read_sources()
    compiler = nvrtc.Compiler(pinned)
    targets = {"kernels.ptx": pinned.ptx} | {f"{a}.cubin": a for a in pinned.cubins}
    files, names = {}, []
    compiled = compiler.compile_all(UNIT, unit(sources), targets.values())
    for (name, _), (image, log) in zip(targets.items(), compiled):
        sys.stderr.write(log)
        check_paths(name, image)
        if name == "kernels.ptx":
            names = check_ptx(image, pinned)
        # Neither time nor name in the header: the same bytes from run to run.
        files[f"{name}.gz"] = gzip.compress(image, compresslevel=9, mtime=0)
        print(f"{name}: {len(image)} bytes, {len(files[name + '.gz'])} compressed")
    files["kernels.txt"] = "".join(f"{n}\n" for n in names).encode()
    inputs = sources | {"build/compiler.json": nvrtc.COMPILER.read_bytes()}
    files["SHA256SUMS"] = sums(inputs | {f"images/{n}": data for n, data in files.items()})
    print(f"{len(names)} kernels from {sum(n.endswith('.cu') for n in sources)} files, NVRTC {compiler.version}")
    return files


def sums(files):
    return "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files)).encode()


def expand(name, data):
    """What is compared: another zlib may compress the same image to other bytes."""
    return gzip.decompress(data) if name.endswith(".gz") else data


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        raise BuildError("usage: ptx.py [--check]")
    files = build(nvrtc.settings())
    if sys.argv[1:] == ["--check"]:
        images = [n for n in files if n != "SHA256SUMS"]
        differ = [n for n in images if not (IMAGES / n).exists() or expand(n, (IMAGES / n).read_bytes()) != expand(n, files[n])]
        if differ:
            raise BuildError(f"images/ differs from what the sources give in {', '.join(differ)}; run make ptx")
        return
    IMAGES.mkdir(exist_ok=True)
    for old in IMAGES.iterdir():
        if old.name not in files:
            old.unlink()
    for name, data in files.items():
        (IMAGES / name).write_bytes(data)


if __name__ == "__main__":
    nvrtc.run(main)
