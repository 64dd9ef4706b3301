"""Mask targets: annotated bitmaps, cropped to boxes."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator
from roiops.ops._roi_align import MAX_SIDE
from roiops.ops.paste_masks import CONVENTIONS


@leaf
def crop_masks(
    masks: Array,
    boxes: Array,
    size: int | tuple[int, int],
    *,
    convention: str = "torchvision",
) -> Array:
    """What a mask head is to predict for each box: its own mask, resampled to a small grid.

    ``roi_align`` of mask n in box n, with as many samples per bin as the box asks for, straight
    from the bitmap: nothing as large as the masks is made.

    Args:
        masks: (N, H, W) bool, uint8 or floating, one per box (index those of the matched objects).
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, any floating dtype (16-bit ones are read as
            float32).
        size: (height, width) of the targets, or one int for both.
        convention: "torchvision": ``aligned=False``, soft targets, the mean of each bin.
            "detectron2": ``aligned=True``, set where that mean is at least 0.5.

    Returns:
        (N, height, width) float32 (float64 of float64 masks), or bool with "detectron2". A box
        with a non-finite coordinate gives zeros. Not differentiable.

        The mean is computed in float64 in a fixed order and rounded once: an edge through the
        middle of a bin is exactly 0.5, and set, on every machine. ``roi_align`` sums in float32.

    Raises:
        ValueError: wrong shape, size or convention.
        TypeError: an array of another kind or dtype.

    Source: project_masks_on_boxes of torchvision, BitMasks.crop_and_resize of detectron2.

    >>> import numpy as np, roiops
    >>> mask = np.zeros((1, 4, 6), bool)
    >>> mask[:, :, 3:] = True
    >>> box = np.array([[0, 0, 6, 4]], np.float32)
    >>> roiops.crop_masks(mask, box, (1, 3))
    array([[[0.  , 0.75, 1.  ]]], dtype=float32)
    >>> roiops.crop_masks(mask, box, (1, 3), convention="detectron2")
    array([[[False,  True,  True]]])
    """
    op = "crop_masks"
    xp, masks, boxes = adopt(op, masks=masks, boxes=boxes)
    height, width = _check.size_pair(op, "size", size)
    _check.choice(op, "convention", convention, CONVENTIONS)
    boxes = _check.promoted(xp, boxes)
    return xp.call(_CROP_MASKS, masks, boxes, height, width, convention)


# fmt: off
def _allocate(xp, masks, boxes, height, width, convention):
    op = "crop_masks"
    _check.shape(op, "masks", "(N, H, W) with H, W from 1 to 2^30", masks,
                 len(masks.shape) == 3 and all(0 < side <= MAX_SIDE for side in masks.shape[1:]))
    if xp.dtype(masks) not in ("bool", "uint8", *_check.FEATURES):
        raise TypeError(f"{op}: masks must be bool, uint8 or floating; got {xp.dtype(masks)}")
    n = masks.shape[0]
    _check.shape(op, "boxes", f"({n}, 4), one per mask", boxes,
                 len(boxes.shape) == 2 and boxes.shape[0] == n and boxes.shape[1] == 4)
    _check.floating(op, "boxes", xp, boxes, "floating")
    soft = "float64" if xp.dtype(masks) == "float64" else "float32"
    dtype = soft if convention == "torchvision" else "bool"
    return xp.empty((n, height, width), dtype, boxes)


def _compute(xp, cropped, masks, boxes, height, width, convention):
    xp.core.crop_masks(
        xp.describe(cropped), xp.describe(masks), xp.describe(boxes), convention == "detectron2",
        xp.execution(),
    )


_CROP_MASKS = Operator(
    "crop_masks",
    "(Tensor masks, Tensor boxes, SymInt height, SymInt width, str convention) -> Tensor",
    _allocate, _compute,
)
