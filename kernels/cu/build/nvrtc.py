"""NVIDIA's runtime compiler, pinned: fetched from PyPI, called through ctypes.

It needs neither a GPU nor a driver nor a CUDA toolkit. compiler.json says which
version, for which devices, and with which options; all of it decides the images.
"""

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

KERNELS = Path(__file__).resolve().parent.parent  # kernels/cu
ROOT = KERNELS.parent.parent
COMPILER = KERNELS / "build" / "compiler.json"
CACHE = ROOT / "build" / "cuda" / "nvrtc"


class BuildError(Exception):
    """What the user can act on; printed without a traceback."""


@dataclass(frozen=True)
class Settings:
    """compiler.json.

    ptx is the virtual architecture of the PTX, for every device that has no cubin
    of its own; ptx_isa is the PTX version the compiler writes, and driver the first
    driver that loads it. CUDA 12.4 knows no device after sm_90: those after it
    (sm_100, sm_120) take the PTX, which their driver compiles when it loads it. A
    newer compiler would write PTX that fewer drivers load. There is no line
    information: it more than doubles the images.
    """

    wheel: str
    wheel_sha256: str
    options: list
    ptx: str
    ptx_isa: str
    driver: str
    cubins: list


def settings():
    return Settings(**json.loads(COMPILER.read_bytes()))


def library(pinned):
    """Unpacks the pinned wheel, once, and returns the folder of its libraries."""
    folder = CACHE / pinned.wheel_sha256[:16]
    libraries = folder / "nvidia" / "cuda_nvrtc" / "lib"
    if libraries.is_dir():
        return libraries
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise BuildError(
            f"the pinned compiler is for Linux on x86_64, not {sys.platform} on {platform.machine()}; "
            "the images built there serve every GPU host"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        requirement = Path(scratch, "requirements.txt")
        requirement.write_text(f"{pinned.wheel} --hash=sha256:{pinned.wheel_sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(requirement), "-d", scratch]
        if subprocess.run(pip).returncode != 0:
            raise BuildError(f"could not download {pinned.wheel} from PyPI (pip's message is above)")
        (wheel,) = Path(scratch).glob("*.whl")
        unpacked = Path(scratch, "unpacked")
        with zipfile.ZipFile(wheel) as z:
            z.extractall(unpacked)
        unpacked.rename(folder)
    return libraries


class Compiler:
    """Compiles one translation unit whose files are all in memory.

    Nothing is read from the disk, so no path of this machine can get into an
    image, and the bytes compiled are those that were hashed.
    """

    def __init__(self, pinned):
        folder = library(pinned)
        # NVRTC opens its builtins by name at the first compilation: loading them
        # here makes the loader find them without LD_LIBRARY_PATH.
        for builtins in folder.glob("libnvrtc-builtins.so*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self._lib = ctypes.CDLL(str(folder / "libnvrtc.so.12"))
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        self._options = pinned.options
        self._check("nvrtcVersion", ctypes.byref(major := ctypes.c_int()), ctypes.byref(minor := ctypes.c_int()))
        self.version = f"{major.value}.{minor.value}"

    def _check(self, function, *args):
        code = getattr(self._lib, function)(*args)
        if code:
            raise BuildError(f"{function}: {self._lib.nvrtcGetErrorString(code).decode()}")

    def compile(self, name, sources, architecture, options=()):
        """Compiles sources[name] and returns the image, a cubin for an sm_
        architecture and PTX for a compute_ one, and the log."""
        headers = [n for n in sources if n != name]
        count = len(headers)
        texts = (ctypes.c_char_p * count)(*[sources[n] for n in headers])
        names = (ctypes.c_char_p * count)(*[n.encode() for n in headers])
        program = ctypes.c_void_p()
        self._check(
            "nvrtcCreateProgram", ctypes.byref(program), sources[name], name.encode(), count, texts, names
        )
        try:
            flags = [f"--gpu-architecture={architecture}", *self._options, *options]
            argv = (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags])
            code = self._lib.nvrtcCompileProgram(program, len(flags), argv)
            log = self._text(program, "ProgramLog")
            if code:
                raise BuildError(f"{architecture}: {self._lib.nvrtcGetErrorString(code).decode()}\n{log}")
            if architecture.startswith("sm_"):
                return self._get(program, "CUBIN"), log
            return self._text(program, "PTX").encode(), log
        finally:
            self._lib.nvrtcDestroyProgram(ctypes.byref(program))

    def compile_all(self, name, sources, architectures, options=()):
        """Compiles for several architectures, as many at a time as there are
        processors; the results are in the order of the architectures."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda a: self.compile(name, sources, a, options), architectures))

    def _get(self, program, what):
        size = ctypes.c_size_t()
        self._check(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        self._check(f"nvrtcGet{what}", program, data)
        return data.raw

    def _text(self, program, what):
        return self._get(program, what).rstrip(b"\0").decode()


def run(main):
    """Runs a script's main, printing a BuildError as one message."""
    try:
        sys.exit(main())
    except BuildError as e:
        sys.exit(f"{Path(sys.argv[0]).name}: {e}")
