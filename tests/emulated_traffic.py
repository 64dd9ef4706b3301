"""What the CUDA kernels ask of device memory, counted by the emulator, as lines of JSON.

Each case is small, because a call is a million times slower than on a GPU, but of the shape of
real work. `make cuda-report` makes a table of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from backends import emulated_backend, emulated_device_of


@dataclass(frozen=True)
class Case:
    """A call, and of how many pieces of work it is."""

    name: str
    unit: str
    units: int
    operator: str
    arguments: Callable[[], tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def features(*shape: int, dtype: str = "float32", channels_last: bool = False) -> np.ndarray:
    """(N, C, H, W), in memory as asked."""
    values = numbers(*shape, dtype=dtype)
    if channels_last:
        values = np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return values


def boxes(count: int, least: float, most: float, reach: float) -> np.ndarray:
    """Sides from `least` to `most`, within `reach`."""
    rng = np.random.default_rng(1)
    size = rng.uniform(least, most, (count, 2))
    low = rng.uniform(0, reach - size)
    return np.concatenate([low, low + size], 1).astype(np.float32)


def rois(count: int) -> np.ndarray:
    """7 to 14 cells of a map of 32 x 32, as the pyramid's levels have them."""
    return np.concatenate([np.zeros((count, 1)), boxes(count, 7, 14, 32)], 1).astype(np.float32)


CHANNELS, REGIONS, BINS = 256, 4, 7
GRID = {"sampling_ratio": 2, "aligned": True}


def pooling(name: str, operator: str, settings: dict[str, Any], **options: Any) -> Case:
    map = 1, CHANNELS, 32, 32
    if operator.endswith("_backward"):
        grad = REGIONS, CHANNELS, BINS, BINS
        return Case(
            name, "RoI", REGIONS, operator,
            lambda: (features(*grad, **settings), features(*map, **settings), rois(REGIONS), 1.0),
            options,
        )  # fmt: skip
    return Case(
        name, "RoI", REGIONS, operator,
        lambda: (features(*map, **settings), rois(REGIONS), BINS, 1.0), options,
    )  # fmt: skip


LAYOUTS: dict[str, dict[str, Any]] = {
    "NCHW float32": {},
    "NCHW float16": {"dtype": "float16"},
    "NHWC float32": {"channels_last": True},
    "NHWC float16": {"channels_last": True, "dtype": "float16"},
}

CASES = [
    *(pooling(f"roi_align {n}", "roi_align", s, **GRID) for n, s in LAYOUTS.items()),
    pooling("roi_align max NCHW float32", "roi_align", {}, reduction="max", **GRID),
    *(
        pooling(f"roi_align_backward {n}", "roi_align_backward", s, **GRID)
        for n, s in LAYOUTS.items()
    ),
    *(pooling(f"roi_pool {n}", "roi_pool", s) for n, s in LAYOUTS.items()),
    pooling("roi_pool_backward NCHW float32", "roi_pool_backward", {}),
    Case("nms 2000", "box", 2000, "nms", lambda: (boxes(2000, 8, 200, 1000), numbers(2000), 0.5)),
    Case("fpn_levels 2000", "box", 2000, "fpn_levels", lambda: (boxes(2000, 8, 900, 1000), 2, 5)),
]


def counted(case: Case) -> dict[str, Any]:
    device, backend = emulated_device_of("hooks"), emulated_backend("hooks")
    device.traffic()
    backend(case.operator, *case.arguments(), **case.options)
    return {
        "case": case.name,
        "unit": case.unit,
        "units": case.units,
        "channels_last": "NHWC" in case.name,
        **device.traffic(),
    }


if __name__ == "__main__":
    names = sys.argv[1:]
    for case in CASES:
        if not names or any(name in case.name for name in names):
            print(json.dumps(counted(case)), flush=True)
