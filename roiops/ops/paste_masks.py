"""Predicted masks, pasted into the picture."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator

CONVENTIONS = ("torchvision", "detectron2")


@leaf
def paste_masks(
    masks: Array,
    boxes: Array,
    image_size: tuple[int, int],
    *,
    threshold: float | None = 0.5,
    padding: int = 1,
    convention: str = "torchvision",
) -> Array:
    """Resize each predicted mask to its box, in an otherwise empty picture.

    Args:
        masks: (N, M, M) probabilities, any floating dtype (16-bit ones are read as float32).
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, any floating dtype (16-bit ones are read as
            float32).
        image_size: (height, width) of the picture.
        threshold: None returns the interpolated probabilities.
        padding: cells of zeros put around each mask first ("torchvision" only), so that it fades
            out at its edge.
        convention: "torchvision" grows the box by the padding, truncates it to whole pixels
            x1..x2 inclusive and sets pixels > threshold; "detectron2" samples at pixel centres of
            the exact box and sets pixels >= threshold.

    Returns:
        (N, height, width) bool, or float32 or float64 with ``threshold=None``. A box with a
        non-finite coordinate, or outside the picture, gives an empty picture. Not differentiable.

    Raises:
        ValueError: wrong shape, size, padding, threshold or convention.
        TypeError: an array of another kind or dtype.

    Source: Mask R-CNN, section 3.1 (masks are resized to the RoI, threshold 0.5); arithmetic of
    torchvision's paste_masks_in_image and detectron2's.

    >>> import numpy as np, roiops
    >>> masks = np.ones((1, 2, 2), np.float32)
    >>> box = np.array([[1, 1, 3, 3]], np.float32)
    >>> roiops.paste_masks(masks, box, (4, 5), convention="detectron2")[0].astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 0, 0],
           [0, 1, 1, 0, 0],
           [0, 0, 0, 0, 0]])
    """
    op = "paste_masks"
    xp, masks, boxes = adopt(op, masks=masks, boxes=boxes)
    height, width = _check.size_pair(op, "image_size", image_size)
    if threshold is not None:
        threshold = _check.number(op, "threshold", threshold)
    _check.choice(op, "convention", convention, CONVENTIONS)
    padding = _check.whole(op, "padding", padding, 0, 1000)
    masks, boxes = _check.promoted(xp, masks), _check.promoted(xp, boxes)
    return xp.call(_PASTE_MASKS, masks, boxes, height, width, threshold, padding, convention)


# fmt: off
def check_masks(op: str, xp: Namespace, masks: Array, boxes: Array) -> None:
    _check.shape(op, "masks", "(N, M, M) with M > 0", masks,
                 len(masks.shape) == 3 and masks.shape[1] == masks.shape[2] and masks.shape[1] > 0)
    _check.floating(op, "masks", xp, masks)
    n = masks.shape[0]
    _check.shape(op, "boxes", f"({n}, 4), one per mask", boxes,
                 len(boxes.shape) == 2 and boxes.shape[0] == n and boxes.shape[1] == 4)
    _check.floating(op, "boxes", xp, boxes, "floating")


def _allocate(xp, masks, boxes, height, width, threshold, padding, convention):
    check_masks("paste_masks", xp, masks, boxes)
    dtype = xp.dtype(masks) if threshold is None else "bool"
    return xp.empty((masks.shape[0], height, width), dtype, masks)


def _compute(xp, out, masks, boxes, height, width, threshold, padding, convention):
    xp.core.paste_masks(
        xp.describe(out), xp.describe(masks), xp.describe(boxes), threshold, padding, convention,
        xp.execution(),
    )


_PASTE_MASKS = Operator(
    "paste_masks",
    "(Tensor masks, Tensor boxes, SymInt height, SymInt width, float? threshold, SymInt padding, "
    "str convention) -> Tensor",
    _allocate, _compute,
)
