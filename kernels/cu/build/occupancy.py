"""How many blocks of a kernel a multiprocessor holds.

The rules are those of cuda_occupancy.h of the CUDA toolkit, without partitioned
caching and with the largest carve-out of shared memory, which a kernel that wants
more than 48 KB is given.
"""

from dataclasses import dataclass

WARP = 32
REGISTERS = 64 * 1024  # of a multiprocessor
PARTITIONS = 4  # schedulers, each with its share of the registers
REGISTER_UNIT = 256  # of a warp's allocation
SHARED_UNIT = 128
SHARED_RESERVED = 1024  # by the driver, of each block


@dataclass(frozen=True)
class Multiprocessor:
    """The limits per multiprocessor, CUDA C++ Programming Guide, table of
    technical specifications per compute capability."""

    warps: int
    blocks: int
    shared: int  # bytes, SHARED_RESERVED of each block included


ARCHITECTURES = {
    "sm_80": Multiprocessor(warps=64, blocks=32, shared=164 * 1024),
    "sm_86": Multiprocessor(warps=48, blocks=16, shared=100 * 1024),
    "sm_89": Multiprocessor(warps=48, blocks=24, shared=100 * 1024),
    "sm_90": Multiprocessor(warps=64, blocks=32, shared=228 * 1024),
}


def round_up(n, unit):
    return -(-n // unit) * unit


def blocks(architecture, threads, registers, shared):
    """Blocks per multiprocessor, 0 where not one fits; shared is static and dynamic
    shared memory together."""
    sm = ARCHITECTURES[architecture]
    warps = round_up(threads, WARP) // WARP
    warp_registers = round_up(registers * WARP, REGISTER_UNIT)
    if threads > 1024 or warp_registers * round_up(warps, PARTITIONS) > REGISTERS:
        return 0
    by_registers = REGISTERS // PARTITIONS // warp_registers * PARTITIONS // warps
    by_shared = sm.shared // round_up(shared + SHARED_RESERVED, SHARED_UNIT)
    return min(sm.blocks, sm.warps // warps, by_registers, by_shared)


def occupancy(architecture, threads, resident):
    """The share of a multiprocessor's warps that resident blocks are."""
    return resident * round_up(threads, WARP) / WARP / ARCHITECTURES[architecture].warps
