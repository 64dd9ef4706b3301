"""Boxes: overlap and clipping.

Boxes are (x1, y1, x2, y2) in continuous pixel coordinates; the width is x2 - x1. With
``plus_one=True`` it is x2 - x1 + 1, the convention of Detectron and of Pascal VOC.
"""

import numpy as np

from roiops.reference.precision import compute_dtype


def box_area(boxes: np.ndarray, plus_one: bool = False) -> np.ndarray:
    """Width times height of boxes (..., 4), in their own dtype. Negative for a flipped box."""
    one = boxes.dtype.type(1 if plus_one else 0)
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    return (x2 - x1 + one) * (y2 - y1 + one)


def pairwise_iou(boxes1: np.ndarray, boxes2: np.ndarray, plus_one: bool = False) -> np.ndarray:
    """Intersection over union of boxes that broadcast against each other, both of one float dtype.

    Where the union is not positive (two empty boxes, a flipped or a non-finite one) the overlap
    is 0: nothing there can be suppressed or matched.
    """
    real = boxes1.dtype.type
    one = real(1 if plus_one else 0)
    with np.errstate(all="ignore"):
        width = (
            np.minimum(boxes1[..., 2], boxes2[..., 2])
            - np.maximum(boxes1[..., 0], boxes2[..., 0])
            + one
        )
        height = (
            np.minimum(boxes1[..., 3], boxes2[..., 3])
            - np.maximum(boxes1[..., 1], boxes2[..., 1])
            + one
        )
        intersection = np.maximum(width, real(0)) * np.maximum(height, real(0))
        union = box_area(boxes1, plus_one) + box_area(boxes2, plus_one) - intersection
        return np.where(union > 0, intersection / union, real(0))


def box_iou(boxes1: np.ndarray, boxes2: np.ndarray, *, plus_one: bool = False) -> np.ndarray:
    """Overlap of every box of boxes1 (N, 4) with every box of boxes2 (M, 4): (N, M).

    As ``torchvision.ops.box_iou``, except that an empty union gives 0 where it gives NaN.
    """
    dtype = compute_dtype(boxes1, boxes2)
    first, second = boxes1.astype(dtype), boxes2.astype(dtype)
    return pairwise_iou(first[:, None], second[None, :], plus_one)


def clip_boxes_to_image(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clamp boxes (..., 4) to [0, width] x [0, height]; size is (height, width).

    As torchvision and detectron2: the right edge is `width`, not `width - 1`. NaN stays NaN.
    """
    height, width = size
    clipped = np.empty_like(boxes)
    clipped[..., 0::2] = np.clip(boxes[..., 0::2], 0, width)
    clipped[..., 1::2] = np.clip(boxes[..., 1::2], 0, height)
    return clipped
