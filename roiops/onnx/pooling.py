"""RoIAlign by RoiAlign, RoIPool by MaxRoiPool."""

from __future__ import annotations

from roiops.onnx.values import DOUBLE, FLOAT, INT64, Size, Value, nonzero, op, static
from roiops.ops._roi_align import _name as public_name

_MODES = {"align": "output_half_pixel", "aligned": "half_pixel"}


def roi_align(
    inputs: list[Value],
    rois: Value,
    levels: Value | None,
    height: Size,
    width: Size,
    spatial_scales: list[float],
    sampling_ratio: int,
    placement: str,
    reduction: str,
) -> Value:
    operator = public_name(placement, levels)
    if placement not in _MODES:
        raise NotImplementedError(f"{operator}: ONNX has no operator that samples so")
    # ONNX's own maximum is one of weighted cells. One sample a bin, and then the greatest of a few
    # bins, is that of samples.
    bins = 1
    if reduction == "max":
        if sampling_ratio < 1:
            raise NotImplementedError(
                f"{operator}: sampling_ratio must be at least 1 for ONNX with reduction='max'; "
                f"got {sampling_ratio}"
            )
        bins, sampling_ratio = sampling_ratio, 1
    dtype = inputs[0].dtype
    wide = DOUBLE if DOUBLE in (dtype, rois.dtype) else FLOAT
    batch = op.Cast(op.Gather(rois, 0, axis=1), to=INT64)
    boxes = op.Cast(op.Slice(rois, [1], [5], [1]), to=wide)

    def pooled(level: int, batch: Value, boxes: Value) -> Value:
        bin_values = op.RoiAlign(
            op.Cast(inputs[level], to=wide),
            boxes,
            batch,
            output_height=bins * static(operator, "output_size", height),
            output_width=bins * static(operator, "output_size", width),
            sampling_ratio=max(sampling_ratio, 0),
            spatial_scale=spatial_scales[level],
            coordinate_transformation_mode=_MODES[placement],
        )
        if bins > 1:
            bin_values, _ = op.MaxPool(bin_values, kernel_shape=[bins, bins], strides=[bins, bins])
        return bin_values

    if levels is None:
        return op.Cast(pooled(0, batch, boxes), to=dtype)
    members = [nonzero(op.Equal(levels, level)) for level in range(len(inputs))]
    parts = [
        pooled(level, op.Gather(batch, rows), op.Gather(boxes, rows))
        for level, rows in enumerate(members)
    ]
    _, order = op.TopK(op.Concat(*members, axis=0), op.Shape(levels), largest=0)
    return op.Cast(op.Gather(op.Concat(*parts, axis=0), order), to=dtype)


def roi_pool(input: Value, rois: Value, height: Size, width: Size, spatial_scale: float) -> Value:
    for name, array in (("input", input), ("boxes", rois)):
        if array.dtype != FLOAT:
            raise NotImplementedError(
                f"roi_pool: {name} must be float32 for ONNX; got {array.dtype.numpy()}"
            )
    size = [static("roi_pool", "output_size", length) for length in (height, width)]
    return op.MaxRoiPool(input, rois, pooled_shape=size, spatial_scale=spatial_scale)


TRANSLATIONS = {"roi_align": roi_align, "roi_pool": roi_pool}
