"""nms on a hundred thousand boxes of many kinds: with a list of pairs these tests would not end."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal

import roiops
from roiops import reference

MANY = 100_000


def grid() -> np.ndarray:
    """Squares of 9 pixels, 1 pixel apart."""
    number = np.arange(MANY)
    low = np.stack([number % 400 * 10, number // 400 * 10], 1)
    return np.concatenate([low, low + 9], 1).astype(np.float32)


def multitude(kind: str) -> tuple[np.ndarray, float, np.ndarray]:
    """boxes (MANY, 4), a threshold, and which are kept when scores fall with the index."""
    everything, number = np.arange(MANY), np.arange(MANY, dtype=np.float64)[:, None]
    match kind:
        case "identical":
            return np.tile(np.float32([3, 4, 50, 60]), (MANY, 1)), 0.5, np.array([0])
        case "disjoint":
            return grid(), 0.0, everything
        case "disjoint, each twice":
            boxes = grid()[: MANY // 2]
            return np.concatenate([boxes, boxes]), 0.5, np.arange(MANY // 2)
        case "one enormous":
            boxes = grid()
            boxes[0] = [-1e6, -1e6, 1e6, 1e6]
            return boxes, 0.01, everything
        case "all within one":
            boxes = grid()
            boxes[0] = [0, 0, 4000, 2500]
            return boxes, 0.0, np.array([0])
        case "nested":
            # Squares of MANY, MANY - 1, ... 1 pixels: two meet by the square of their ratio.
            side = MANY - number
            kept, last = [0], MANY
            while (smaller := math.isqrt(last * last // 2)) > 0:
                kept.append(MANY - smaller)
                last = smaller
            return np.concatenate([0 * side, 0 * side, side, side], 1), 0.5, np.array(kept)
        case "a chain":
            # Each overlaps its neighbours by a half: IoU 1/3.
            boxes = np.concatenate([5 * number, 0 * number, 5 * number + 10, 0 * number + 10], 1)
            return boxes, 0.3, everything[::2]
        case "not finite":
            return np.full((MANY, 4), np.nan, np.float32), 0.5, everything
        case "without area":
            boxes = grid()
            boxes[:, 2] = boxes[:, 0]
            return boxes, 0.0, everything
    raise ValueError(kind)


KINDS = ("identical", "disjoint", "disjoint, each twice", "one enormous", "all within one",
         "nested", "a chain", "not finite", "without area")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_thousand_boxes(fast: Backend, kind: str) -> None:
    boxes, threshold, expected = multitude(kind)
    scores = np.linspace(1, 0, MANY)
    order = np.random.default_rng(0).permutation(MANY)
    keep = fast("nms", boxes[order], scores[order], threshold)
    np.testing.assert_array_equal(order[keep], expected)


PROGRAM = """
import resource
import numpy as np
import roiops
from test_many_boxes import KINDS, MANY, multitude

scores = np.linspace(1, 0, MANY)
multitudes = [multitude(kind)[:2] for kind in KINDS]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for boxes, threshold in multitudes:
    roiops.nms(boxes, scores, threshold)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_they_need_little_memory() -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(Path(roiops.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100  # MiB; a matrix of all pairs has 40 000


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.7])
def test_twenty_thousand_boxes_of_any_size(fast: Backend, threshold: float) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(-500, 1000, (20_000, 2))
    sides = np.exp(rng.uniform(-3, 6, (20_000, 2)))
    boxes = np.concatenate([low, low + sides], 1).astype(np.float32)
    scores = rng.random(20_000).astype(np.float32)
    expected = reference.nms(boxes, scores, threshold)
    assert_equal(fast("nms", boxes, scores, threshold), expected)
