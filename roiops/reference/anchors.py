"""Anchors on a feature grid, in the three conventions in use. aspect_ratio = height / width.

============  ====================================  ===========  ================  ==============
convention    cell anchor                           order        rounding          first centre
============  ====================================  ===========  ================  ==============
torchvision   centred                               ratio-major  half to even      0
detectron2    centred                               size-major   none              0
detectron     grown from (0, 0, stride-1, stride-1) ratio-major  of width, height  (stride - 1)/2
============  ====================================  ===========  ================  ==============
"""

import math
from collections.abc import Sequence

import numpy as np


def cell_anchors(
    sizes: Sequence[float],
    aspect_ratios: Sequence[float],
    *,
    convention: str = "torchvision",
    stride: float | None = None,
    like: np.ndarray | None = None,
) -> np.ndarray:
    """Anchors (A, 4) of the first grid cell; "detectron" needs the stride.

    like gives the dtype (float32 without it).
    """
    dtype = np.float32 if like is None else like.dtype
    stride = math.nan if stride is None else stride
    return exact_cell_anchors(sizes, aspect_ratios, stride, convention).astype(dtype)


def exact_cell_anchors(
    sizes: Sequence[float], aspect_ratios: Sequence[float], stride: float, convention: str
) -> np.ndarray:
    """The same in float64, in which they are moved to every cell of a grid."""
    size = np.asarray(sizes, np.float64)
    ratio = np.asarray(aspect_ratios, np.float64)
    if convention == "torchvision":
        root = np.sqrt(ratio)
        width, height = np.outer(1 / root, size).ravel(), np.outer(root, size).ravel()
        return np.round(np.stack([-width, -height, width, height], axis=1) / 2)
    if convention == "detectron2":
        width = np.sqrt(np.outer(size**2, 1 / ratio))
        height = width * ratio
        width, height = width.ravel(), height.ravel()
        return np.stack([-width, -height, width, height], axis=1) / 2
    if convention == "detectron":
        # The base cell is reshaped to each ratio, in whole pixels, and only then enlarged.
        ratio_width = np.round(np.sqrt(stride * stride / ratio))
        ratio_height = np.round(ratio_width * ratio)
        scale = size / stride
        width, height = np.outer(ratio_width, scale).ravel(), np.outer(ratio_height, scale).ravel()
        centre = (stride - 1) / 2
        to_x, to_y = (width - 1) / 2, (height - 1) / 2
        return np.stack([centre - to_x, centre - to_y, centre + to_x, centre + to_y], axis=1)
    raise ValueError(f"unknown anchor convention {convention!r}")


def grid_anchors(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[int | tuple[int, int]],
    sizes: Sequence[Sequence[float]],
    aspect_ratios: Sequence[Sequence[float]],
    *,
    convention: str = "torchvision",
    like: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Anchors of each level, (H * W * A, 4) in the order y, x, anchor.

    feature_sizes are (H, W) per level, strides (y, x) or one number per level. like gives the
    dtype (float32 without it).
    """
    dtype = np.float32 if like is None else like.dtype
    levels = []
    for (height, width), stride, level_sizes, level_ratios in zip(
        feature_sizes, strides, sizes, aspect_ratios, strict=True
    ):
        stride_y, stride_x = stride if isinstance(stride, Sequence) else (stride, stride)
        cell = exact_cell_anchors(level_sizes, level_ratios, stride_x, convention)
        anchors = np.empty((height, width, len(cell), 4), np.float64)
        anchors[..., 0::2] = (np.arange(width) * stride_x)[None, :, None, None] + cell[:, 0::2]
        anchors[..., 1::2] = (np.arange(height) * stride_y)[:, None, None, None] + cell[:, 1::2]
        levels.append(anchors.reshape(-1, 4).astype(dtype))
    return levels
