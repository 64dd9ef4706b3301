"""heatmaps_to_keypoints: a loop over the boxes, as each heatmap is resized to a size of its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript import script
from onnxscript.onnx_types import TensorType

from roiops.onnx.values import INT64, Value, all_of, constants, op

LONGEST = 4096  # pixels along one side of a resized heatmap: kMaxResizedSide of the kernel


def heatmaps_to_keypoints(heatmaps: Value, boxes: Value) -> Value:
    dtype, real = heatmaps.dtype, constants(heatmaps.dtype)
    low, high = op.Split(boxes, num_outputs=2, axis=1)  # (N, 2): x, y
    sides = op.Max(high - low, real(1))
    finite = (op.Abs(x) < real(np.inf) for x in (low, high, sides))
    usable_x, usable_y = op.Split(all_of(*finite), num_outputs=2, axis=1)
    usable = op.And(usable_x, usable_y)
    sides = op.Where(usable, sides, real(1))
    pixels = op.Min(op.Ceil(sides), real(LONGEST))
    sizes = op.Cast(pixels, to=INT64)
    width, height = op.Split(pixels, num_outputs=2, axis=1)
    taps = [
        tap
        for length, axis in ((width, 3), (height, 2))
        for tap in bicubic_taps(length, op.Shape(heatmaps, start=axis, end=axis + 1), dtype)
    ]
    at, score = greatest(heatmaps, sizes, *taps)  # (N, K) each
    columns = op.Cast(width, to=INT64)
    row = at / columns
    place = [op.Unsqueeze(op.Cast(x, to=dtype), [2]) for x in (at - row * columns, row)]
    pixel = op.Unsqueeze(sides / pixels, [1])
    corner = op.Unsqueeze(low, [1])
    where = (op.Concat(*place, axis=2) + real(0.5)) * pixel + corner
    keypoints = op.Concat(where, op.Unsqueeze(score, [2]), axis=2)
    return op.Where(op.Unsqueeze(usable, [2]), keypoints, real(0))


def bicubic_taps(pixels: Value, cells: Value, dtype: ir.DataType) -> tuple[Value, Value]:
    """The four cells (N, 4, P) that the pixels of a resized axis read, and their weights.

    ``pixels`` (N, 1) are resized to; P is the greatest of them, the others' taps are followed by
    some that nobody reads.
    """
    real, whole = constants(dtype), constants(INT64)
    a = -0.75

    def near(t: Value) -> Value:
        return (real(a + 2) * t - real(a + 3)) * t * t + real(1)

    def far(t: Value) -> Value:
        return ((real(a) * t - real(5 * a)) * t + real(8 * a)) * t - real(4 * a)

    longest = op.ReduceMax(op.Concat(op.Reshape(pixels, [-1]), real([1]), axis=0), keepdims=0)
    numbers = op.Cast(op.Range(0, op.Cast(longest, to=INT64), 1), to=dtype)
    source = (op.Cast(cells, to=dtype) / pixels) * (numbers + real(0.5)) - real(0.5)
    source = op.Unsqueeze(source, [1])
    low = op.Floor(source)
    t = source - low
    weights = op.Concat(far(t + real(1)), near(t), near(real(1) - t), far(real(2) - t), axis=1)
    cell = op.Cast(low, to=INT64) + whole([[-1], [0], [1], [2]])
    return op.Min(op.Max(cell, whole(0)), cells - whole(1)), weights


@script()
def greatest(
    heatmaps, sizes, cells_x, weights_x, cells_y, weights_y
) -> tuple[TensorType, TensorType]:
    """Of each box's resized heatmaps the place of the greatest value, in reading order, and the
    value: (N, K) both. Products are added from the lowest tap on, as the greatest sum decides.
    """
    nothing = op.Shape(heatmaps, start=1, end=2) * op.Constant(value_ints=[0, 1])
    places = op.CastLike(op.ConstantOfShape(nothing), sizes)
    values = op.CastLike(op.ConstantOfShape(nothing), heatmaps)
    count = op.Squeeze(op.Shape(heatmaps, end=1))
    for n in range(count):
        zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
        map = op.Gather(heatmaps, n)
        width, height = op.Split(op.Gather(sizes, n), num_outputs=2)
        x = op.Slice(op.Gather(cells_x, n), zero, width, one)
        to_x = op.Slice(op.Gather(weights_x, n), zero, width, one)
        y = op.Slice(op.Gather(cells_y, n), zero, height, one)
        to_y = op.Unsqueeze(op.Slice(op.Gather(weights_y, n), zero, height, one), [2])
        stretched = op.Gather(to_x, 0) * op.Gather(map, op.Gather(x, 0), axis=2)
        stretched = stretched + op.Gather(to_x, 1) * op.Gather(map, op.Gather(x, 1), axis=2)
        stretched = stretched + op.Gather(to_x, 2) * op.Gather(map, op.Gather(x, 2), axis=2)
        stretched = stretched + op.Gather(to_x, 3) * op.Gather(map, op.Gather(x, 3), axis=2)
        resized = op.Gather(to_y, 0) * op.Gather(stretched, op.Gather(y, 0), axis=1)
        resized = resized + op.Gather(to_y, 1) * op.Gather(stretched, op.Gather(y, 1), axis=1)
        resized = resized + op.Gather(to_y, 2) * op.Gather(stretched, op.Gather(y, 2), axis=1)
        resized = resized + op.Gather(to_y, 3) * op.Gather(stretched, op.Gather(y, 3), axis=1)
        flat = op.Flatten(resized)
        places = op.Concat(places, op.Unsqueeze(op.ArgMax(flat, axis=1, keepdims=0), [0]), axis=0)
        values = op.Concat(values, op.Unsqueeze(op.ReduceMax(flat, [1], keepdims=0), [0]), axis=0)
    return places, values


TRANSLATIONS = {"heatmaps_to_keypoints": heatmaps_to_keypoints}
