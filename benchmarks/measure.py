"""Two calls measured in turn, so that what else the machine does falls on both alike.

What is quoted is the ratio of each pair (peer / ours) and the median of those: absolute times move
with the machine, ratios of neighbours hardly. CPU time is that of all threads of the process.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Quartiles:
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: list[float]) -> Quartiles:
        return cls(*(float(q) for q in np.percentile(samples, (25, 50, 75))))


@dataclass(frozen=True)
class Times:
    """Of one call, in seconds."""

    wall: Quartiles
    cpu: Quartiles

    @classmethod
    def of(cls, samples: list[tuple[float, float]]) -> Times:
        wall, cpu = zip(*samples, strict=True)
        return cls(Quartiles.of(list(wall)), Quartiles.of(list(cpu)))


@dataclass(frozen=True)
class Comparison:
    ours: Times
    theirs: Times | None
    ratio: Quartiles | None
    """Their time divided by ours: of CPU time with one thread, of wall time with several and on a
    GPU."""
    pairs: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def once(call: Call) -> tuple[float, float]:
    """Wall and CPU seconds of one call after another; its result is freed outside.

    The first finds the caches, and the system's free memory, as the peer has left them: a virtual
    machine may have given that memory back to its host by then, who takes his time returning it.
    """
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    del result
    return wall, cpu


def repeated(call: Call, times: int) -> tuple[float, float]:
    """The same per call, for calls that are too short for the clock; results are freed inside."""
    if times == 1:
        return once(call)
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return wall / times, cpu / times


Clock = Callable[[Call, int], tuple[float, float]]
"""Seconds, wall and CPU or device and host, of a call that is repeated so often."""


def calls_for(call: Call, clock: Clock, least: float = 0.002) -> int:
    """How often a call is repeated for one sample of at least `least` seconds."""
    return max(1, round(least / max(min(clock(call, 1)[0] for _ in range(3)), 1e-7)))


def compare(
    ours: Call, theirs: Call | None, seconds: float, wall: bool, clock: Clock = repeated
) -> Comparison:
    """At least seven pairs, and as many as fit in about `seconds`. The ratio is of the first number
    of the clock (`wall`) or of its second."""
    our_calls = calls_for(ours, clock)
    their_calls = calls_for(theirs, clock) if theirs else 0
    gc.collect()
    gc.disable()
    try:
        samples: list[tuple[tuple[float, float], tuple[float, float] | None]] = []
        start = time.perf_counter()
        while len(samples) < 7 or (time.perf_counter() - start < seconds and len(samples) < 201):
            a = clock(ours, our_calls)
            samples.append((a, clock(theirs, their_calls) if theirs else None))
    finally:
        gc.enable()
    of = 0 if wall else 1
    pairs = [(a, b) for a, b in samples if b is not None]
    return Comparison(
        Times.of([a for a, _ in samples]),
        Times.of([b for _, b in pairs]) if pairs else None,
        Quartiles.of([b[of] / a[of] for a, b in pairs]) if pairs else None,
        len(samples),
    )
