"""The same work in other types and layouts and with more threads, beside float32, NCHW, one thread.

Both are our own: calls of the two take turns, as with a peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.measure import Call, Quartiles, compare
from benchmarks.run import Setting, has_maps, tensors
from roiops.testing import Case

BASE = Setting()
AT_ONCE = "two calls at once, a thread each"


@dataclass(frozen=True)
class Row:
    case: str
    setting: str
    ratio: Quartiles
    """The base's time divided by the setting's: CPU time, or wall time where threads differ."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prepared(case: Case, setting: Setting) -> Call:
    arguments = tensors(case.arguments(np.random.default_rng(0), True), setting)
    call = peers.ours(case.operator)(*arguments, **case.options)

    def with_threads() -> Any:
        torch.set_num_threads(setting.threads)
        return call()

    return with_threads


THREADS = {"2 threads": Setting(threads=2)}
OF_MAPS = {
    "float64": Setting(dtype="float64"),
    "float16": Setting(dtype="float16"),
    "bfloat16": Setting(dtype="bfloat16"),
    "channels_last": Setting(layout="channels_last"),
}


def settings_of(case: Case) -> dict[str, Setting | None]:
    """By name, in the order of the table; None: two calls of the base at once."""
    at_once = {AT_ONCE: None} if case.name == "roi_align C4" else {}
    return {**(OF_MAPS if has_maps(case) else {}), **THREADS, **at_once}


def rows(cases: list[Case], seconds: float) -> Iterator[Row]:
    for case in cases:
        base = prepared(case, BASE)
        for name, setting in settings_of(case).items():
            if setting is None:
                yield Row(case.name, name, at_once(base, seconds))
                continue
            several = setting.threads > 1
            measured = compare(prepared(case, setting), base, seconds, several)
            assert measured.ratio
            yield Row(case.name, name, measured.ratio)


def at_once(call: Call, seconds: float) -> Quartiles:
    """What two cores of this machine can do at most: two calls that share nothing."""
    with ThreadPoolExecutor(2) as pool:

        def both() -> None:
            for done in [pool.submit(call), pool.submit(call)]:
                done.result()

        ratio = compare(both, call, seconds, True).ratio
    assert ratio
    return Quartiles(2 * ratio.low, 2 * ratio.median, 2 * ratio.high)
