"""Boxes from one way of writing them to another; formulas as torchvision's.

Upright: xyxy, xywh, cxcywh. Rotated: xywhr, cxcywhr (angle in degrees, counter-clockwise in the
picture), xyxyxyxy (top left, top right, bottom right, bottom left). Every conversion leads over
xyxy, or over xywhr.
"""

from collections.abc import Callable

import numpy as np

from roiops.reference.precision import compute_dtype

Corners = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def box_convert(boxes: np.ndarray, in_fmt: str, out_fmt: str) -> np.ndarray:
    """boxes (..., 4, 5 or 8) in in_fmt → (..., 4, 5 or 8) in out_fmt, in their own dtype.

    16-bit floats are computed in float32. Integers become float32 if one of two upright formats is
    cxcywh; rotated ones are computed in float32 and rounded, each step of the way.
    """
    if in_fmt == out_fmt:
        return boxes.copy()
    upright = in_fmt in ("xyxy", "xywh", "cxcywh")
    integers = boxes.dtype.kind in "iu"
    if not integers:
        return between(boxes.astype(compute_dtype(boxes)), in_fmt, out_fmt, lambda x: x).astype(
            boxes.dtype
        )
    if not upright:
        return between(boxes.astype(np.float32), in_fmt, out_fmt, np.round).astype(boxes.dtype)
    if in_fmt == "cxcywh":
        return between(boxes.astype(np.float32), in_fmt, out_fmt, lambda x: x)
    result = between(boxes.astype(np.int64), in_fmt, out_fmt, lambda x: x)
    return result.astype(np.float32 if out_fmt == "cxcywh" else boxes.dtype)


def between(
    boxes: np.ndarray, in_fmt: str, out_fmt: str, rounded: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    with np.errstate(all="ignore"):
        if in_fmt in ("xyxy", "xywh", "cxcywh"):
            return np.stack(from_corners(*to_corners(boxes, in_fmt), out_fmt), axis=-1)
        return rounded(from_xywhr(rounded(to_xywhr(boxes, in_fmt)), out_fmt))


def to_corners(boxes: np.ndarray, fmt: str) -> Corners:
    a, b, c, d = np.moveaxis(boxes, -1, 0)
    if fmt == "xywh":
        return a, b, a + c, b + d
    if fmt == "cxcywh":
        half = boxes.dtype.type(0.5)
        return a - half * c, b - half * d, a + half * c, b + half * d
    return a, b, c, d


def from_corners(
    x1: np.ndarray, y1: np.ndarray, x2: np.ndarray, y2: np.ndarray, fmt: str
) -> Corners:
    if fmt == "xywh":
        return x1, y1, x2 - x1, y2 - y1
    if fmt == "cxcywh":
        return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    return x1, y1, x2, y2


def half_diagonal(
    width: np.ndarray, height: np.ndarray, degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From corner 1 to the centre, x and y."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return width / 2 * cos + height / 2 * sin, height / 2 * cos - width / 2 * sin


def to_xywhr(boxes: np.ndarray, fmt: str) -> np.ndarray:
    if fmt == "xywhr":
        return boxes
    if fmt == "cxcywhr":
        x, y, width, height, degrees = np.moveaxis(boxes, -1, 0)
        to_x, to_y = half_diagonal(width, height, degrees)
        return np.stack([x - to_x, y - to_y, width, height, degrees], axis=-1)
    x1, y1, x2, y2, x3, y3, _, _ = np.moveaxis(boxes, -1, 0)
    width, height = np.hypot(x2 - x1, y2 - y1), np.hypot(x3 - x2, y3 - y2)
    return np.stack([x1, y1, width, height, np.degrees(np.arctan2(y1 - y2, x2 - x1))], axis=-1)


def from_xywhr(boxes: np.ndarray, fmt: str) -> np.ndarray:
    x, y, width, height, degrees = np.moveaxis(boxes, -1, 0)
    if fmt == "xywhr":
        return boxes
    if fmt == "cxcywhr":
        to_x, to_y = half_diagonal(width, height, degrees)
        return np.stack([x + to_x, y + to_y, width, height, degrees], axis=-1)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    right, down = np.array([width * cos, -width * sin]), np.array([height * sin, height * cos])
    first = np.array([x, y])
    corners = [first, first + right, first + right + down, first + down]
    return np.moveaxis(np.concatenate(corners), 0, -1)
