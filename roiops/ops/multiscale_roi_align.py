"""RoIAlign over the levels of a feature pyramid in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops.ops._roi_align import (
    FORWARD,
    GRAD_INPUT,
    GRAD_ROIS,
    REDUCTIONS,
    as_rois,
    check_rois,
    placement_of,
    sampling,
)
from roiops.ops.fpn_levels import fpn_levels


@leaf
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
    xp, inputs, boxes, levels = _adopt(op, inputs, boxes, levels)
    rois = as_rois(op, xp, boxes, inputs[0])
    scales = _scales(op, spatial_scales, len(inputs))
    if levels is None:
        levels = _assigned_levels(op, xp, rois, scales, canonical_scale, canonical_level)
    height, width = _check.size_pair(op, "output_size", output_size)
    _check.choice(op, "reduction", reduction, REDUCTIONS)
    return xp.call(
        FORWARD, inputs, rois, levels, height, width, scales,
        sampling(op, sampling_ratio), placement_of(op, aligned), reduction,
    )  # fmt: skip


@leaf
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
    xp, inputs, boxes, levels, grad_output = _adopt(
        op, inputs, boxes, levels, grad_output=grad_output
    )
    rois = as_rois(op, xp, boxes, inputs[0])
    scales = _scales(op, spatial_scales, len(inputs))
    if levels is None:
        levels = _assigned_levels(op, xp, rois, scales, canonical_scale, canonical_level)
    _check.choice(op, "reduction", reduction, REDUCTIONS)
    args = (
        grad_output, inputs, rois, levels, scales,
        sampling(op, sampling_ratio), placement_of(op, aligned), reduction,
    )  # fmt: skip
    return list(xp.call(GRAD_INPUT, *args)), xp.call(GRAD_ROIS, *args)


def _adopt(op: str, inputs: Any, boxes: Any, levels: Any, **others: Array) -> tuple[Any, ...]:
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"{op}: inputs must be a list of arrays; got {type(inputs).__name__}")
    if not inputs:
        raise ValueError(f"{op}: inputs must hold at least one array; got an empty list")
    return adopt(
        op, lists=["inputs", "boxes"], optional=["levels"],
        inputs=inputs, boxes=boxes, levels=levels, **others,
    )  # fmt: skip


def _scales(op: str, spatial_scales: Sequence[float], maps: int) -> list[float]:
    values = _check.sequence(op, "spatial_scales", spatial_scales, "one number per map")
    scales = [_check.number(op, "spatial_scales", s, low=0) for s in values]
    if len(scales) != maps:
        raise ValueError(
            f"{op}: spatial_scales must have one value per map ({maps}); got {len(scales)}"
        )
    return scales


def _assigned_levels(
    op: str,
    xp: Namespace,
    rois: Array,
    scales: Sequence[float],
    canonical_scale: float,
    canonical_level: int,
) -> Array:
    check_rois(op, xp, rois)
    finest, coarsest = (-round(math.log2(s)) for s in (scales[0], scales[-1]))
    if coarsest - finest != len(scales) - 1:
        raise ValueError(
            f"{op}: spatial_scales must halve from map to map when levels is None; got {scales}"
        )
    levels = fpn_levels(
        rois, finest, coarsest, canonical_scale=canonical_scale, canonical_level=canonical_level
    )
    return levels - finest
