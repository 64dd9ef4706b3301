"""RoIAlign on one feature map, or on the levels of a pyramid in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from roiops import _check, _cpu
from roiops._arrays import Array, Namespace, namespace
from roiops._operators import operator
from roiops.ops.fpn_levels import fpn_levels

_MAX_SAMPLING_RATIO = 4096


def roi_align(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> Array:
    """Pool each box to a fixed grid by bilinear sampling, without rounding any coordinate.

    ``aligned`` defaults to False as in torchvision; detectron2 uses True. False shifts every
    sample by half a feature cell, which at stride 16 is 8 image pixels, and widens boxes smaller
    than a cell to one cell: a model must be used with the value that it was trained with.

    Args:
        input: (N, C, H, W) features, float32 or float64; contiguous or channels_last (both native,
            never copied), or any strides.
        boxes: (K, 5) [batch_index, x1, y1, x2, y2] in image pixels (continuous coordinates), or a
            list of N arrays (L, 4); float32 or float64, independent of the features' dtype.
        output_size: bins (height, width), or one int for both.
        spatial_scale: feature cells per image pixel, 1 / stride.
        sampling_ratio: samples per bin and axis, at most 4096; <= 0: ceil(box side / bins).
        aligned: subtract half a cell, so that cell i is centred at coordinate i + 0.5.
        reduction: "mean" of a bin's samples, or their "max" (the maximum of interpolated values,
            Table 2c of the paper; ONNX's mode "max" is another function).

    Returns:
        (K, C, height, width) in the features' dtype and memory format. A box with a non-finite
        coordinate gives zeros. Samples more than one cell outside the map are 0 and count in the
        mean.

    Differentiable in ``input`` and ``boxes``; twice differentiable in ``input`` and the output's
    gradient.

    Raises:
        ValueError: wrong shape, output size, scale, sampling ratio or reduction.
        TypeError: an array of another kind or dtype.
        IndexError: a batch index that is not a whole number in [0, N).

    Source: He et al., "Mask R-CNN" (2017), section 3; arithmetic as torchvision.ops.roi_align.

    >>> import numpy as np, roiops
    >>> ramp = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> boxes = np.array([[0, 0, 0, 4, 4]], np.float32)
    >>> roiops.roi_align(ramp, boxes, 2, aligned=True)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    op = "roi_align"
    xp = namespace(op, input=input, boxes=boxes)
    rois = _as_rois(op, xp, boxes, input)
    height, width = _check.size_pair(op, "output_size", output_size)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    return xp.call(
        _FORWARD, [input], rois, None, height, width, [scale], int(sampling_ratio), aligned,
        reduction,
    )  # fmt: skip


def roi_align_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """Gradients of ``roi_align`` for those who work without autograd.

    Args:
        grad_output: (K, C, height, width) gradient of the output, of the features' dtype.
        input, boxes, spatial_scale, sampling_ratio, aligned, reduction: as in ``roi_align``.

    Returns:
        ``grad_input`` like ``input``, and ``grad_rois`` (K, 5) in the boxes' dtype, whose first
        column is 0. The number of samples counts as a constant; a coordinate has gradient 0 where
        a sample is clamped at the map's border.

    Raises: as ``roi_align``.
    """
    op = "roi_align_backward"
    xp = namespace(op, grad_output=grad_output, input=input, boxes=boxes)
    rois = _as_rois(op, xp, boxes, input)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    args = (grad_output, [input], rois, None, [scale], int(sampling_ratio), aligned, reduction)
    return xp.call(_GRAD_INPUT, *args)[0], xp.call(_GRAD_ROIS, *args)


def multiscale_roi_align(
    inputs: Sequence[Array],
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    levels: Array | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    reduction: str = "mean",
) -> Array:
    """RoIAlign over the levels of a feature pyramid, in one call and one output.

    Each box is pooled from one level, chosen by its size as in Feature Pyramid Networks.

    Args:
        inputs: L feature maps (N, C, H_l, W_l), finest first.
        boxes, output_size, sampling_ratio, aligned, reduction: as in ``roi_align``.
        spatial_scales: one per map, 1 / stride.
        levels: (K,) int64 index into ``inputs`` for each box. None: ``fpn_levels(boxes, a, b) - a``
            with a = -log2(spatial_scales[0]) and b = -log2(spatial_scales[-1]), rounded.
        canonical_scale, canonical_level: see ``fpn_levels``.

    Returns:
        (K, C, height, width) in the order of the boxes.

    Differentiable in ``inputs`` and ``boxes`` (which level is chosen counts as a constant).

    Raises: as ``roi_align``; IndexError for a level outside [0, L).

    Source: Lin et al., "Feature Pyramid Networks" (2017), equation 1; order and arithmetic as
    torchvision.ops.MultiScaleRoIAlign.

    >>> import numpy as np, roiops
    >>> p2, p3 = np.ones((1, 1, 64, 64), np.float32), np.full((1, 1, 32, 32), 2, np.float32)
    >>> boxes = np.array([[0, 8, 8, 40, 40], [0, 0, 0, 200, 200]], np.float32)
    >>> roiops.multiscale_roi_align([p2, p3], boxes, 1, [1 / 4, 1 / 8], 2).ravel()
    array([1., 2.], dtype=float32)
    """
    op = "multiscale_roi_align"
    xp, rois, levels, scales = _multiscale_arguments(
        op, inputs, boxes, spatial_scales, levels, canonical_scale, canonical_level
    )
    height, width = _check.size_pair(op, "output_size", output_size)
    return xp.call(
        _FORWARD,
        list(inputs), rois, levels, height, width, scales, int(sampling_ratio), aligned, reduction,
    )  # fmt: skip


def multiscale_roi_align_backward(
    grad_output: Array,
    inputs: Sequence[Array],
    boxes: Array | Sequence[Array],
    spatial_scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    levels: Array | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    reduction: str = "mean",
) -> tuple[list[Array], Array]:
    """Gradients of ``multiscale_roi_align`` for those who work without autograd.

    Returns ``grad_inputs``, a list like ``inputs``, and ``grad_rois`` (K, 5); see
    ``roi_align_backward``.
    """
    op = "multiscale_roi_align_backward"
    xp, rois, levels, scales = _multiscale_arguments(
        op, inputs, boxes, spatial_scales, levels, canonical_scale, canonical_level
    )
    namespace(op, inputs=inputs, grad_output=grad_output)
    args = (
        grad_output, list(inputs), rois, levels, scales, int(sampling_ratio), aligned, reduction,
    )  # fmt: skip
    return list(xp.call(_GRAD_INPUT, *args)), xp.call(_GRAD_ROIS, *args)


def _as_rois(op: str, xp: Namespace, boxes: Array | Sequence[Array], input: Array) -> Array:
    """(K, 5) from either form of ``boxes``."""
    if not isinstance(boxes, (list, tuple)):
        return boxes
    images = input.shape[0] if len(input.shape) == 4 else None
    if images is not None and len(boxes) != images:
        raise ValueError(
            f"{op}: boxes must be a list of one (L, 4) array per image ({images}); "
            f"got {len(boxes)}"
        )
    parts = []
    for i, b in enumerate(boxes):
        _check.shape(op, f"boxes[{i}]", "(L, 4)", b, len(b.shape) == 2 and b.shape[1] == 4)
        _check.same_dtype(op, f"boxes[{i}]", xp, b, "boxes[0]", boxes[0])
        parts.append(xp.concatenate([xp.full_like(b[:, :1], i), b], 1))
    return xp.concatenate(parts, 0)


def _multiscale_arguments(
    op: str,
    inputs: Sequence[Array],
    boxes: Array | Sequence[Array],
    spatial_scales: Sequence[float],
    levels: Array | None,
    canonical_scale: float,
    canonical_level: int,
) -> tuple[Namespace, Array, Array, list[float]]:
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise TypeError(f"{op}: inputs must be a non-empty list of arrays; got {type(inputs)}")
    xp = namespace(op, inputs=inputs, boxes=boxes, levels=levels)
    scales = [_check.number(op, "spatial_scales", s, low=0) for s in spatial_scales]
    if len(scales) != len(inputs):
        raise ValueError(
            f"{op}: spatial_scales must have one value per map ({len(inputs)}); got {len(scales)}"
        )
    rois = _as_rois(op, xp, boxes, inputs[0])
    if levels is None:
        finest, coarsest = (-round(math.log2(s)) for s in (scales[0], scales[-1]))
        if coarsest - finest != len(inputs) - 1:
            raise ValueError(
                f"{op}: spatial_scales must halve from map to map when levels is None; "
                f"got {scales}"
            )
        levels = (
            fpn_levels(
                rois, finest, coarsest,
                canonical_scale=canonical_scale, canonical_level=canonical_level,
            )
            - finest
        )  # fmt: skip
    return xp, rois, levels, scales


# --- the operators: arguments are positional, as in the schemas below ---------------------------


def _check_maps(
    op: str, xp: Namespace, inputs: Sequence[Array], rois: Array, levels: Array | None,
    sampling_ratio: int, reduction: str,
) -> None:  # fmt: skip
    first = inputs[0]
    for i, x in enumerate(inputs):
        name = "input" if levels is None else f"inputs[{i}]"
        _check.shape(op, name, "(N, C, H, W) with H, W > 0", x,
                     len(x.shape) == 4 and x.shape[2] > 0 and x.shape[3] > 0)  # fmt: skip
        _check.floating(op, name, xp, x)
        if i:
            _check.shape(op, name, f"({first.shape[0]}, {first.shape[1]}, H, W) like inputs[0]", x,
                         tuple(x.shape[:2]) == tuple(first.shape[:2]))  # fmt: skip
            _check.same_dtype(op, name, xp, x, "inputs[0]", first)
    if not (len(rois.shape) == 2 and rois.shape[1] == 5):
        raise ValueError(
            f"{op}: boxes must have shape (K, 5) [batch_index, x1, y1, x2, y2] or be a list of "
            f"(L, 4); got {tuple(rois.shape)}"
        )
    _check.floating(op, "boxes", xp, rois)
    if levels is not None:
        _check.shape(op, "levels", f"({rois.shape[0]},), one per box", levels,
                     len(levels.shape) == 1 and levels.shape[0] == rois.shape[0])  # fmt: skip
        _check.integer(op, "levels", xp, levels)
    if sampling_ratio > _MAX_SAMPLING_RATIO:
        raise ValueError(
            f"{op}: sampling_ratio must be at most {_MAX_SAMPLING_RATIO}; got {sampling_ratio}"
        )
    _check.choice(op, "reduction", reduction, ("mean", "max"))


def _check_grad_output(
    op: str, xp: Namespace, grad_output: Array, input: Array, rois: Array
) -> None:
    _check.shape(
        op, "grad_output", f"({rois.shape[0]}, {input.shape[1]}, height, width)", grad_output,
        len(grad_output.shape) == 4
        and tuple(grad_output.shape[:2]) == (rois.shape[0], input.shape[1]),
    )  # fmt: skip
    _check.same_dtype(op, "grad_output", xp, grad_output, "input", input)


def _empty_like_map(xp: Namespace, shape: tuple[int, int, int, int], like: Array) -> Array:
    """Uninitialised, in the memory format (NCHW or channels_last) of ``like``."""
    n, c, h, w = shape
    _, channels, rows, cols = like.shape
    channel, row, cell = xp.strides(like)[1:]
    if channel == 1 and channels > 1 and (cell > 1 or cols == 1) and (row > 1 or rows == 1):
        return _channels_first(xp.empty((n, h, w, c), xp.dtype(like), like))
    return xp.empty((n, c, h, w), xp.dtype(like), like)


def _channels_first(x: Array) -> Array:
    return x.swapaxes(2, 3).swapaxes(1, 2)


def _describe(xp: Namespace, inputs: Sequence[Array], rois: Array, levels: Array | None) -> Any:
    return (
        [xp.describe(x) for x in inputs],
        xp.describe(rois),
        None if levels is None else xp.describe(levels),
    )


# fmt: off
def _allocate(xp, inputs, rois, levels, height, width, scales, sampling_ratio, aligned, reduction):
    _check_maps(_name(levels), xp, inputs, rois, levels, sampling_ratio, reduction)
    return _empty_like_map(xp, (rois.shape[0], inputs[0].shape[1], height, width), inputs[0])


def _compute(
    xp, output, inputs, rois, levels, height, width, scales, sampling_ratio, aligned, reduction
):
    _cpu.roi_align_forward(
        xp.describe(output), *_describe(xp, inputs, rois, levels), scales, sampling_ratio, aligned,
        reduction == "max", xp.threads(), [],
    )


def _allocate_directional(
    xp, values, inputs, rois, levels, height, width, scales, sampling_ratio, aligned
):
    return _allocate(
        xp, inputs, rois, levels, height, width, scales, sampling_ratio, aligned, "max"
    )


def _compute_directional(
    xp, output, values, inputs, rois, levels, height, width, scales, sampling_ratio, aligned
):
    _cpu.roi_align_forward(
        xp.describe(output), *_describe(xp, inputs, rois, levels), scales, sampling_ratio, aligned,
        True, xp.threads(), [xp.describe(v) for v in values],
    )


def _allocate_grad_inputs(
    xp, grad_output, inputs, rois, levels, scales, sampling_ratio, aligned, reduction
):
    op = _name(levels, "_backward")
    _check_maps(op, xp, inputs, rois, levels, sampling_ratio, reduction)
    _check_grad_output(op, xp, grad_output, inputs[0], rois)
    return [_empty_like_map(xp, tuple(x.shape), x) for x in inputs]


def _compute_grad_inputs(
    xp, grad_inputs, grad_output, inputs, rois, levels, scales, sampling_ratio, aligned, reduction
):
    _cpu.roi_align_grad_input(
        [xp.describe(g) for g in grad_inputs], xp.describe(grad_output),
        *_describe(xp, inputs, rois, levels), scales, sampling_ratio, aligned, reduction == "max",
        xp.threads(),
    )


def _allocate_grad_rois(
    xp, grad_output, inputs, rois, levels, scales, sampling_ratio, aligned, reduction
):
    op = _name(levels, "_backward")
    _check_maps(op, xp, inputs, rois, levels, sampling_ratio, reduction)
    _check_grad_output(op, xp, grad_output, inputs[0], rois)
    return xp.empty(tuple(rois.shape), xp.dtype(rois), rois)


def _compute_grad_rois(
    xp, grad_rois, grad_output, inputs, rois, levels, scales, sampling_ratio, aligned, reduction
):
    _cpu.roi_align_grad_rois(
        xp.describe(grad_rois), xp.describe(grad_output), *_describe(xp, inputs, rois, levels),
        scales, sampling_ratio, aligned, reduction == "max", xp.threads(),
    )


# torch's autograd: ``save`` keeps what ``backward`` needs. Backward functions run under torch only.


def _save_forward(ctx, inputs, output):
    maps, rois, levels, height, width, *ctx.options = inputs
    ctx.save_for_backward(rois, levels, *maps)


def _backward(ctx, grad_output):
    rois, levels, *maps = ctx.saved_tensors
    args = (grad_output, maps, rois, levels, *ctx.options)
    needs_maps = any(ctx.needs_input_grad[0])
    grad_maps = _call(_GRAD_INPUT, *args) if needs_maps else [None] * len(maps)
    grad_rois = _call(_GRAD_ROIS, *args) if ctx.needs_input_grad[1] else None
    return grad_maps, grad_rois, *[None] * 7


def _save_grad_input(ctx, inputs, output):
    grad_output, maps, rois, levels, *ctx.options = inputs
    ctx.size = grad_output.shape[2:]
    ctx.save_for_backward(rois, levels, *maps)


def _backward_grad_input(ctx, grads):
    """The gradient of the input is linear in the output's gradient, and for the mean does not
    depend on the input at all (for the maximum: almost everywhere)."""
    _refuse_mixed(ctx.needs_input_grad[2])
    rois, levels, *maps = ctx.saved_tensors
    scales, sampling_ratio, aligned, reduction = ctx.options
    if reduction == "mean":
        result = _call(_FORWARD, grads, rois, levels, *ctx.size, *ctx.options)
    else:
        result = _call(
            _DIRECTIONAL, grads, maps, rois, levels, *ctx.size, scales, sampling_ratio, aligned
        )
    return result, [None] * len(maps), *[None] * 6


def _save_directional(ctx, inputs, output):
    values, maps, rois, levels, height, width, *ctx.options = inputs
    ctx.save_for_backward(rois, levels, *maps)


def _backward_directional(ctx, grad_output):
    _refuse_mixed(ctx.needs_input_grad[2])
    rois, levels, *maps = ctx.saved_tensors
    grads = _call(_GRAD_INPUT, grad_output, maps, rois, levels, *ctx.options, "max")
    return grads, [None] * len(maps), *[None] * 7


def _save_nothing(ctx, inputs, output):
    pass


def _backward_grad_rois(ctx, grads):
    _refuse_mixed(True)


def _refuse_mixed(asked):
    if asked:
        raise RuntimeError(
            "roi_align: the second derivative through boxes is not implemented; detach the boxes "
            "(boxes.detach()) where you differentiate twice"
        )


def _call(op, *args):
    from roiops._torch import TORCH

    return TORCH.call(op, *args)


def _name(levels, suffix=""):
    return ("roi_align" if levels is None else "multiscale_roi_align") + suffix


_OPTIONS = "float[] spatial_scales, int sampling_ratio, bool aligned"
_FORWARD = operator(
    "roi_align",
    "(Tensor[] inputs, Tensor rois, Tensor? levels, SymInt height, SymInt width, "
    f"{_OPTIONS}, str reduction) -> Tensor",
    _allocate, _compute, _save_forward, _backward,
)
_GRAD_INPUT = operator(
    "roi_align_grad_input",
    "(Tensor grad_output, Tensor[] inputs, Tensor rois, Tensor? levels, "
    f"{_OPTIONS}, str reduction) -> Tensor[]",
    _allocate_grad_inputs, _compute_grad_inputs, _save_grad_input, _backward_grad_input,
)
_GRAD_ROIS = operator(
    "roi_align_grad_rois",
    "(Tensor grad_output, Tensor[] inputs, Tensor rois, Tensor? levels, "
    f"{_OPTIONS}, str reduction) -> Tensor",
    _allocate_grad_rois, _compute_grad_rois, _save_nothing, _backward_grad_rois,
)
# The derivative of the maximum in the direction ``values``: its second derivative needs it.
_DIRECTIONAL = operator(
    "roi_align_directional",
    "(Tensor[] values, Tensor[] inputs, Tensor rois, Tensor? levels, SymInt height, SymInt width, "
    f"{_OPTIONS}) -> Tensor",
    _allocate_directional, _compute_directional, _save_directional, _backward_directional,
)
