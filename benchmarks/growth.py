"""Time and memory as the work grows: the number of boxes, of RoIs, of cells of the map."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.run import Setting, arrays, tensors
from roiops.testing import clustered_boxes, clustered_rois, distinct_scores

Rng = np.random.Generator


@dataclass(frozen=True)
class Series:
    name: str
    operator: str
    unit: str
    sizes: tuple[int, ...]
    arguments: Callable[[Rng, int], tuple[Any, ...]]
    proportional: bool = True
    """Whether twice the size is twice the work."""


@dataclass(frozen=True)
class Point:
    series: str
    unit: str
    size: int
    seconds: float
    """CPU time with one thread, the least of some calls."""
    proportional: bool
    memory: int
    """Bytes at the peak beyond arguments and results."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def suppression(rng: Rng, count: int) -> tuple[Any, ...]:
    return clustered_boxes(rng, count, (800, 1333)), distinct_scores(rng, count), 0.7


def nested(rng: Rng, count: int) -> tuple[Any, ...]:
    """Each box around the next, the largest with the best score: next to none is kept."""
    r = np.arange(count, dtype=np.float32) / 2
    boxes = np.stack([r, r, 2 * count - r, 2 * count - r], 1)
    return boxes, np.linspace(1, 0, count, dtype=np.float32), 0.7


def pooling(rng: Rng, count: int) -> tuple[Any, ...]:
    rois = clustered_rois(rng, count, (800, 1333), 1)
    return rng.standard_normal((1, 256, 50, 84), np.float32), rois, 7, 1 / 16, 2


def on_larger_maps(rng: Rng, side: int) -> tuple[Any, ...]:
    """The same regions in the corner of ever larger maps."""
    rois = clustered_rois(rng, 300, (800, 1333), 1)
    return rng.standard_normal((1, 64, side, side), np.float32), rois, 7, 1 / 16, 2


def pooling_backward(rng: Rng, count: int) -> tuple[Any, ...]:
    input, rois, bins, *rest = pooling(rng, count)
    return rng.standard_normal((count, 256, bins, bins), np.float32), input, rois, *rest


SERIES = [
    Series("nms", "nms", "boxes", (1_000, 10_000, 100_000, 1_000_000), suppression),
    Series("nms, a nest of boxes", "nms", "boxes", (1_000, 10_000, 100_000), nested),
    Series("roi_align", "roi_align", "RoIs", (100, 1_000, 10_000), pooling),
    Series(
        "roi_align backward", "roi_align_backward", "RoIs", (100, 1_000, 10_000), pooling_backward
    ),
    Series(
        "roi_align, 300 RoIs",
        "roi_align",
        "rows and columns",
        (100, 400, 1_600),
        on_larger_maps,
        proportional=False,
    ),
]


def status(field: str) -> int:
    """Bytes, as Linux counts this process's memory."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found, field
    return int(found[1]) * 1024


def measure(series: Series, size: int, seconds: float) -> Point:
    torch.set_num_threads(1)
    arguments = tensors(series.arguments(np.random.default_rng(0), size), Setting())
    call = peers.ours(series.operator)(*arguments)
    call()  # its code is in memory
    ctypes.CDLL(None).malloc_trim(0)  # and what was freed is no longer counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    result = call()
    memory = status("VmHWM") - before - sum(x.nbytes for x in arrays(result))
    del result
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds or best == float("inf"):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return Point(series.name, series.unit, size, best, series.proportional, max(0, memory))


def points(chosen: list[Series], seconds: float) -> Iterator[Point]:
    for series in chosen:
        for size in series.sizes:
            yield measure(series, size, seconds)
