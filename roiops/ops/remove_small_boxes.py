"""Which boxes are large enough."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator


@leaf
def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """Indices of the boxes both of whose sides are at least ``min_size``.

    Args:
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, floating or integer.
        min_size: in pixels; compared in the boxes' dtype (float32 for 16-bit floats, float64 for
            integers).

    Returns:
        (M,) int64, ascending. A box with a NaN side is removed. Not differentiable.

    Raises:
        ValueError: wrong shape, or a size that is not finite.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.remove_small_boxes.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 1], [5, 5, 7, 7]], np.float32)
    >>> roiops.remove_small_boxes(boxes, 2)
    array([0, 2])
    """
    op = "remove_small_boxes"
    xp, boxes = adopt(op, boxes=boxes)
    least = _check.number(op, "min_size", min_size)
    _check.numeric(op, "boxes", xp, boxes)
    if xp.dtype(boxes) in _check.INTEGERS:
        boxes = xp.astype(boxes, "float64")
    return xp.call(_REMOVE, _check.promoted(xp, boxes), least)


# fmt: off
def _allocate(xp, boxes, min_size):
    _check.boxes("remove_small_boxes", "boxes", xp, boxes)
    return xp.empty((boxes.shape[0],), "int64", boxes)


def _compute(xp, keep, boxes, min_size):
    count = xp.core.remove_small_boxes(
        xp.describe(keep), xp.describe(boxes), min_size, xp.execution()
    )
    return xp.concatenate([keep[:count]], 0)


def _fake(xp, boxes, min_size):
    """How many are kept is known only at run time: a new symbol."""
    _allocate(xp, boxes, min_size)
    count = xp.unknown_size()
    return xp.empty((count,), "int64", boxes)


_REMOVE = Operator(
    "remove_small_boxes", "(Tensor boxes, float min_size) -> Tensor",
    _allocate, _compute, fake=_fake,
)
