"""The boxes around masks."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator


@leaf
def masks_to_boxes(masks: Array) -> Array:
    """The tight box around each mask: the first and last column and row that hold a set pixel.

    The far corner is the last pixel's index, not its edge: a mask of one pixel has equal corners.
    (Add 1 for the boxes of continuous coordinates that the other operators take.)

    Args:
        masks: (N, H, W) bool, integer or floating; what is not 0 is set.

    Returns:
        (N, 4) float32 [x1, y1, x2, y2], pixel indices; zeros for an empty mask. Not
        differentiable.

    Raises:
        ValueError: wrong shape.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.masks_to_boxes.

    >>> import numpy as np, roiops
    >>> mask = np.zeros((1, 6, 8), bool)
    >>> mask[0, 2:4, 3:7] = True
    >>> roiops.masks_to_boxes(mask)
    array([[3., 2., 6., 3.]], dtype=float32)
    """
    op = "masks_to_boxes"
    xp, masks = adopt(op, masks=masks)
    return xp.call(_MASKS_TO_BOXES, masks)


# fmt: off
def _allocate(xp, masks):
    op = "masks_to_boxes"
    _check.shape(op, "masks", "(N, H, W)", masks, len(masks.shape) == 3)
    if xp.dtype(masks) != "bool":
        _check.numeric(op, "masks", xp, masks, "bool, integer or floating")
    return xp.empty((masks.shape[0], 4), "float32", masks)


def _compute(xp, boxes, masks):
    xp.core.masks_to_boxes(xp.describe(boxes), xp.describe(masks), xp.execution())


_MASKS_TO_BOXES = Operator("masks_to_boxes", "(Tensor masks) -> Tensor", _allocate, _compute)
