"""The pyramid level that a box is pooled from."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator

_FARTHEST = 60  # levels that a size of 2^level, squared, still is a float64 for
_LARGEST_SCALE = 1e30


@leaf
def fpn_levels(
    boxes: Array,
    min_level: int,
    max_level: int,
    *,
    canonical_scale: float = 224,
    canonical_level: int = 4,
) -> Array:
    """Pyramid level of each box: a box of ``canonical_scale`` pixels belongs to
    ``canonical_level``, one of twice the side to the next.

    The level is floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6), clamped to
    [min_level, max_level], found by comparing the area with thresholds, so that every backend
    decides alike. A box whose area is not positive or not finite goes to ``min_level``.

    Args:
        boxes: (N, 4) [x1, y1, x2, y2] or (N, 5) with a batch index in front; image pixels,
            any floating dtype (16-bit ones are read as float32).
        min_level, max_level: numbers of the finest and the coarsest level, P2 being 2.
        canonical_scale: side in pixels, greater than 0.
        canonical_level: level of that side.

    Returns:
        (N,) int64.

    Raises:
        ValueError: wrong shape, levels in the wrong order, a scale that is not positive.
        TypeError: an array of another kind or dtype.

    Source: Lin et al., "Feature Pyramid Networks" (2017), equation 1; torchvision's epsilon
    (detectron2 adds 1e-8 inside the logarithm).

    >>> import numpy as np, roiops
    >>> boxes = np.array([[0, 0, 112, 112], [0, 0, 223, 224], [0, 0, 224, 224]], np.float32)
    >>> roiops.fpn_levels(boxes, 2, 5)
    array([3, 3, 4])
    """
    op = "fpn_levels"
    xp, boxes = adopt(op, boxes=boxes)
    low = _check.whole(op, "min_level", min_level, -_FARTHEST, _FARTHEST)
    high = _check.whole(op, "max_level", max_level, low, _FARTHEST)
    scale = _check.number(op, "canonical_scale", canonical_scale, low=0)
    if scale > _LARGEST_SCALE:
        raise ValueError(f"{op}: canonical_scale must be at most {_LARGEST_SCALE:g}; got {scale}")
    level = _check.whole(op, "canonical_level", canonical_level, -_FARTHEST, _FARTHEST)
    return xp.call(_FPN_LEVELS, _check.promoted(xp, boxes), low, high, scale, level)


def thresholds(
    min_level: int, max_level: int, canonical_scale: float, canonical_level: int
) -> list[float]:
    """The areas at which the levels after ``min_level`` begin."""
    return [
        (canonical_scale * 2.0 ** (level - canonical_level - 1e-6)) ** 2
        for level in range(min_level + 1, max_level + 1)
    ]


# fmt: off
def _allocate(xp, boxes, min_level, max_level, canonical_scale, canonical_level):
    _check.shape("fpn_levels", "boxes", "(N, 4) or (N, 5)", boxes,
                 len(boxes.shape) == 2 and boxes.shape[1] in (4, 5))
    _check.floating("fpn_levels", "boxes", xp, boxes)
    return xp.empty((boxes.shape[0],), "int64", boxes)


def _compute(xp, levels, boxes, min_level, max_level, canonical_scale, canonical_level):
    begin = thresholds(min_level, max_level, canonical_scale, canonical_level)
    xp.core.fpn_levels(
        xp.describe(levels), xp.describe(boxes[:, -4:]), min_level, begin, xp.execution()
    )


_FPN_LEVELS = Operator(
    "fpn_levels",
    "(Tensor boxes, int min_level, int max_level, float canonical_scale, int canonical_level) "
    "-> Tensor",
    _allocate, _compute,
)
