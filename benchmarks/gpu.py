"""Time on a GPU, and what it was measured on."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import torch

from benchmarks.measure import Call

_FLUSHED = 2**28  # bytes: more than the last cache of any GPU


class Events:
    """Seconds of a call on the device, between two events, and on the host until it is given back.

    Before each sample the last cache is overwritten; the host has the first kernels in the queue
    while that goes on. A call that is short is repeated in a sample, and finds its arguments in
    that cache from the second time on.
    """

    def __init__(self) -> None:
        self._other = torch.empty(_FLUSHED, dtype=torch.uint8, device="cuda")

    def __call__(self, call: Call, times: int) -> tuple[float, float]:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        call()
        self._other.zero_()
        begin.record()
        host = time.perf_counter()
        for _ in range(times):
            call()
        host = time.perf_counter() - host
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / times, host / times


def bandwidth() -> float:
    """Bytes a second that a copy on the device reads and writes: the best of some tries."""
    source = torch.zeros(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    clock = Events()
    return 2 * source.nbytes / min(clock(lambda: target.copy_(source), 1)[0] for _ in range(7))


def describe() -> dict[str, Any]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return {
        "processor": torch.cuda.get_device_name(),
        "instruction set": f"driver {driver}, CUDA {torch.version.cuda}",
        "bandwidth": bandwidth(),
    }
