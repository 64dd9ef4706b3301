"""paste_masks: along x, then along y, each a blend of two gathered cells, as in the kernel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from roiops.onnx.values import DOUBLE, INT64, Size, Value, all_of, columns, constants, op, static


class Taps(NamedTuple):
    """What the pixels of one axis read, (N, pixels) each: whether the box covers them, the cells
    of the mask with its border, and the weight of the higher one, in float64."""

    inside: Value
    low: Value
    high: Value
    weight: Value


def paste_masks(
    masks: Value,
    boxes: Value,
    height: Size,
    width: Size,
    threshold: float | None,
    padding: Size,
    convention: str,
) -> Value:
    dtype, box_dtype, real = masks.dtype, boxes.dtype, constants(masks.dtype)
    own = static("paste_masks", "masks' side", masks.shape[-1])
    border = static("paste_masks", "padding", padding) if convention == "torchvision" else 1
    taps = resize_taps if convention == "torchvision" else centre_taps
    x1, y1, x2, y2 = columns(boxes)
    x = taps(x1, x2, box_dtype, width, own, border)
    y = taps(y1, y2, box_dtype, height, own, border)

    def stretched(rows: Value, axis: Taps) -> Value:
        """(N, cells, K) to (N, pixels, K)."""
        low, high = (
            op.GatherND(rows, op.Unsqueeze(cell, [-1]), batch_dims=1)
            for cell in (axis.low, axis.high)
        )
        weight = op.Unsqueeze(op.Cast(axis.weight, to=dtype), [-1])
        return (real(1) - weight) * low + weight * high

    padded = op.Pad(masks, [0, border, border, 0, border, border])
    along_x = stretched(op.Transpose(padded, perm=[0, 2, 1]), x)
    pasted = stretched(op.Transpose(along_x, perm=[0, 2, 1]), y)
    inside = op.And(op.Unsqueeze(y.inside, [2]), op.Unsqueeze(x.inside, [1]))
    pasted = op.Where(inside, pasted, real(0))
    if threshold is None:
        return pasted
    limit = real(threshold)
    return pasted > limit if convention == "torchvision" else pasted >= limit


def resize_taps(
    low: Value, high: Value, dtype: ir.DataType, pixels: Size, own: int, border: int
) -> Taps:
    """torchvision's: all cells resized to the whole pixels of the grown box."""
    box, real, cells = constants(dtype), constants(DOUBLE), own + 2 * border
    half = (high - low) * box(0.5) * box(cells / own)
    centre = (high + low) * box(0.5)
    first, last = truncated(centre - half), truncated(centre + half)
    extent = op.Max(last - first + real(1), real(1))
    pixel = pixel_numbers(pixels)
    inside = all_of(*finite(first, last), pixel >= first, pixel <= last)
    source = op.Max((pixel - first + real(0.5)) * (real(cells) / extent) - real(0.5), real(0))
    source = op.Where(inside, source, real(0))
    most = constants(INT64)(cells - 1)
    cell = op.Min(op.Cast(source, to=INT64), most)
    weight = source - op.Cast(cell, to=DOUBLE)
    return Taps(inside, cell, op.Min(cell + constants(INT64)(1), most), weight)


def centre_taps(
    low: Value, high: Value, dtype: ir.DataType, pixels: Size, own: int, border: int
) -> Taps:
    """detectron2's: pixel centres between whose taps a cell of the mask lies."""
    real = constants(DOUBLE)
    start, end = op.Cast(low, to=DOUBLE), op.Cast(high, to=DOUBLE)
    centre = pixel_numbers(pixels) + real(0.5)
    source = (centre - start) / (end - start) * real(own) - real(0.5)
    inside = all_of(*finite(start, end), end > start, source > real(-1), source < real(own))
    source = op.Where(inside, source, real(0))
    below = op.Floor(source)
    cell = op.Cast(below, to=INT64) + constants(INT64)(border)
    return Taps(inside, cell, cell + constants(INT64)(1), source - below)


def pixel_numbers(pixels: Size) -> Value:
    return op.Cast(op.Range(0, pixels, 1), to=DOUBLE)


def truncated(x: Value) -> Value:
    """Towards 0, to float64."""
    return op.Cast(op.Sign(x) * op.Floor(op.Abs(x)), to=DOUBLE)


def finite(low: Value, high: Value) -> tuple[Value, Value]:
    """That an interval between these has both ends, where something is between them."""
    real = constants(DOUBLE)
    return low > real(-np.inf), high < real(np.inf)


TRANSLATIONS = {"paste_masks": paste_masks}
