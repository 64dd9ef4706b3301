"""Mask targets of polygons, filled as COCO fills them.

COCO draws a polygon's boundary on a grid of five by five points per pixel, edge by edge, taking one
step per point along the longer direction and rounding the other. Between the points 2 and 3 of a
pixel's column the pixel's centre line lies: where the boundary steps over it, there the pixels
below change from outside to inside or back. Only those steps are computed here.
"""

import bisect
import math
from collections.abc import Iterator, Sequence

import numpy as np

from roiops.reference.precision import compute_dtype
from roiops.reference.roi_align import as_pair

FINE = 5  # points per pixel and axis
FARTHEST = 2.0**40  # vertices beyond this many points from the corner are moved to there


def rasterize_polygons(
    polygons: Sequence[Sequence[Sequence[float] | np.ndarray]],
    boxes: np.ndarray,
    size: int | tuple[int, int],
) -> np.ndarray:
    """N lists of polygons [x0, y0, x1, y1, ...] and boxes (N, 4) → bool (N, height, width).

    The box's corner becomes the origin, and its sides (at least 1) become `width` and `height`. A
    pixel is set if any of the polygons has it inside. A box whose corner or side is not finite
    has no pixels.
    """
    height, width = as_pair(size)
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, outlines, box in zip(
        masks, polygons, boxes.astype(compute_dtype(boxes)).astype(np.float64), strict=True
    ):
        with np.errstate(all="ignore"):
            corner, sides = box[:2], box[2:] - box[:2]
            if not np.isfinite([corner, sides]).all():
                continue
            for outline in outlines:
                points = np.asarray(outline, np.float64).reshape(-1, 2)
                scaled = (points - corner) * [width, height] / np.maximum(sides, 1)
                mask |= filled(scaled, height, width)
    return masks


def filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of one polygon (P, 2): those below an odd number of its boundary's steps."""
    fine = np.trunc(np.clip(FINE * points + 0.5, -FARTHEST, FARTHEST)).astype(np.int64).tolist()
    changes = np.zeros((height + 1, width), np.int64)
    for start, end in zip(fine, fine[1:] + fine[:1], strict=True):
        for column, row in steps(start, end, width):
            pixel = math.ceil(min(max((row + 0.5) / FINE - 0.5, 0), height))
            changes[pixel, column] += 1
    return np.cumsum(changes, 0)[:height] % 2 == 1


def steps(start: list[int], end: list[int], width: int) -> Iterator[tuple[int, float]]:
    """Each pixel column whose centre line the edge steps over, and the upper row of the step."""
    (x0, y0), (x1, y1) = start, end
    across, down = abs(x1 - x0), abs(y1 - y0)
    wide = across >= down
    if (wide and x0 > x1) or (not wide and y0 > y1):
        x0, y0, x1, y1 = x1, y1, x0, y0
    first = max(-((2 - min(x0, x1)) // FINE), 0)
    for column in range(first, min((max(x0, x1) - 3) // FINE + 1, width)):
        left = FINE * column + 2
        if wide:
            slope = (y1 - y0) / across
            yield column, min(math.trunc(y0 + slope * (x - x0) + 0.5) for x in (left, left + 1))
        else:
            slope = (x1 - x0) / down

            def passed(step: int) -> bool:
                x = x0 + slope * step + 0.5  # noqa: B023
                return (x >= left + 1) == (slope > 0)  # noqa: B023

            yield column, y0 + bisect.bisect_left(range(down + 1), True, key=passed) - 1
