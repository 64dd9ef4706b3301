"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import roiops


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def commit() -> str:
    """Of the checkout, with a mark if files differ from it."""
    root = Path(__file__).resolve().parent
    try:
        name, changes = (
            subprocess.run(
                ["git", *command], cwd=root, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+changes" if changes else "")


def bandwidth() -> float:
    """Bytes a second that one thread reads and writes when it copies: the best of some tries."""
    source = np.ones(2**25, np.float32)
    target = np.ones_like(source)
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def describe() -> dict[str, Any]:
    import torchvision

    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "bandwidth": bandwidth(),
        "python": platform.python_version(),
        "roiops": roiops.__version__,
        "instruction set": roiops.show_config().splitlines()[1].partition(": ")[2],
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }
