"""How many warps of a kernel a multiprocessor holds at once."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32
REGISTERS = 65536  # of a multiprocessor, the same for all of these


@dataclass(frozen=True)
class Multiprocessor:
    """Its limits; shared memory in bytes (CUDA programming guide, compute capabilities)."""

    warps: int
    blocks: int
    shared: int
    shared_per_block: int  # that the system takes for itself


MULTIPROCESSORS = {
    75: Multiprocessor(32, 16, 64 << 10, 0),
    80: Multiprocessor(64, 32, 164 << 10, 1 << 10),
    86: Multiprocessor(48, 16, 100 << 10, 1 << 10),
    89: Multiprocessor(48, 24, 100 << 10, 1 << 10),
    90: Multiprocessor(64, 32, 228 << 10, 1 << 10),
    100: Multiprocessor(64, 32, 228 << 10, 1 << 10),
    120: Multiprocessor(48, 24, 100 << 10, 1 << 10),
}


def rounded(x: int, to: int) -> int:
    return -(-x // to) * to


def occupancy(architecture: int, threads: int, registers: int, shared: int) -> float:
    """Warps that can be resident, of those that the multiprocessor has room for.

    ``threads`` and ``shared`` (bytes) are a block's, ``registers`` a thread's.
    """
    limits = MULTIPROCESSORS[architecture]
    warps = rounded(threads, WARP) // WARP
    # A warp's registers are taken 256 at a time, from one of four parts of the file.
    of_warp = rounded(registers * WARP, 256)
    by_registers = REGISTERS // 4 // of_warp * 4 // warps
    by_shared = limits.shared // max(rounded(shared, 256) + limits.shared_per_block, 1)
    blocks = min(limits.blocks, limits.warps // warps, by_registers, by_shared)
    return blocks * warps / limits.warps
