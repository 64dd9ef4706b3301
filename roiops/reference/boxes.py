"""Boxes: overlap and clipping.

Boxes are (x1, y1, x2, y2) in continuous pixel coordinates; the width is x2 - x1. With
``plus_one=True`` it is x2 - x1 + 1, the convention of Detectron and of Pascal VOC.
"""

import numpy as np

from roiops.reference.box_convert import box_convert
from roiops.reference.precision import compute_dtype


def area(boxes: np.ndarray, plus_one: bool = False) -> np.ndarray:
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
        union = area(boxes1, plus_one) + area(boxes2, plus_one) - intersection
        return np.where(union > 0, intersection / union, real(0))


def box_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, fmt: str = "xyxy", *, plus_one: bool = False
) -> np.ndarray:
    """Overlap of every box of boxes1 (..., N, 4) with every one of boxes2 (..., M, 4).

    As ``torchvision.ops.box_iou``, except that an empty union gives 0 where it gives NaN. Integers
    are computed in float64 and rounded to float32.
    """
    first, second = as_floats(boxes1), as_floats(boxes2)
    if fmt != "xyxy":
        first, second = box_convert(first, fmt, "xyxy"), box_convert(second, fmt, "xyxy")
    values = pairwise_iou(first[..., :, None, :], second[..., None, :, :], plus_one)
    return values.astype(np.float32) if boxes1.dtype.kind in "iu" else values


def as_floats(boxes: np.ndarray) -> np.ndarray:
    """16-bit floats as float32, integers as float64, the others as they are."""
    return boxes.astype(np.float64 if boxes.dtype.kind in "iu" else compute_dtype(boxes))


def box_area(boxes: np.ndarray, fmt: str = "xyxy") -> np.ndarray:
    """Width times height of boxes (..., 4): 16-bit floats in float32, small integers in int32."""
    if boxes.dtype.kind in "iu":
        boxes = boxes.astype(np.int64 if boxes.dtype == np.int64 else np.int32)
    else:
        boxes = boxes.astype(compute_dtype(boxes))
    return area(boxes) if fmt == "xyxy" else boxes[..., 2] * boxes[..., 3]


def remove_small_boxes(boxes: np.ndarray, min_size: float) -> np.ndarray:
    """Indices of the boxes (N, 4) with both sides of at least min_size; a NaN side is not."""
    boxes = as_floats(boxes)
    with np.errstate(all="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
    return np.flatnonzero((sides >= boxes.dtype.type(min_size)).all(axis=1))


def masks_to_boxes(masks: np.ndarray) -> np.ndarray:
    """The first and last column and row of masks (N, H, W) that hold a pixel that is not 0."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        if len(rows):
            box[:] = columns.min(), rows.min(), columns.max(), rows.max()
    return boxes


def clip_boxes_to_image(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clamp boxes (..., 4) to [0, width] x [0, height]; size is (height, width).

    As torchvision and detectron2: the right edge is `width`, not `width - 1`. NaN stays NaN.
    """
    height, width = size
    clipped = np.empty_like(boxes)
    clipped[..., 0::2] = np.clip(boxes[..., 0::2], 0, width)
    clipped[..., 1::2] = np.clip(boxes[..., 1::2], 0, height)
    return clipped
