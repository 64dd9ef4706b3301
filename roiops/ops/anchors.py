"""Anchors of a cell, and on the grids of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator

_CONVENTIONS = ("torchvision", "detectron2", "detectron")


@leaf
def cell_anchors(
    sizes: Sequence[float],
    aspect_ratios: Sequence[float],
    *,
    convention: str = "torchvision",
    stride: float | None = None,
    like: Array | None = None,
) -> Array:
    """Anchors of a grid's first cell: boxes of all sizes and shapes, before they are repeated.

    Args:
        sizes: square roots of the anchors' areas in pixels.
        aspect_ratios: height / width.
        convention: "torchvision", "detectron2" or "detectron", as in ``grid_anchors``.
        stride: image pixels per cell; "detectron" needs it, the others do not depend on it.
        like: the anchors get the kind, dtype and device of this array; None: NumPy float32.

    Returns:
        (A, 4) [x1, y1, x2, y2] with A = sizes times ratios, in image pixels; what ``grid_anchors``
        gives for a grid of one cell. Not differentiable.

    Raises:
        ValueError: sizes, ratios or a stride that are not positive, an unknown convention, no
            stride where it is needed.
        TypeError: ``like`` is no float32 or float64 array.

    Source: Ren et al., "Faster R-CNN" (2015), section 3.1.1; the rounding of each implementation.

    >>> import roiops
    >>> roiops.cell_anchors((32,), (0.5, 1.0))
    array([[-23., -11.,  23.,  11.],
           [-16., -16.,  16.,  16.]], dtype=float32)
    """
    op = "cell_anchors"
    xp, like = _adopt_like(op, like)
    _check.choice(op, "convention", convention, _CONVENTIONS)
    if stride is not None:
        stride = _check.number(op, "stride", stride, low=0)
    elif convention == "detectron":
        raise ValueError(f"{op}: stride must be given with convention 'detectron'; got None")
    else:
        stride = 1.0
    shapes = _numbers(op, "sizes", sizes), _numbers(op, "aspect_ratios", aspect_ratios)
    return xp.call(_GRID_ANCHORS, like, 1, 1, stride, stride, *shapes, convention)


@leaf
def grid_anchors(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float | tuple[float, float]],
    sizes: Sequence[Sequence[float]],
    aspect_ratios: Sequence[Sequence[float]],
    *,
    convention: str = "torchvision",
    like: Array | None = None,
) -> list[Array]:
    """Anchors of every level: each cell's boxes of all sizes and shapes.

    Args:
        feature_sizes: (height, width) of each level's grid, in cells.
        strides: image pixels per cell of each level, one number or (y, x).
        sizes: of each level, square roots of the anchors' areas in pixels.
        aspect_ratios: of each level, height / width.
        convention: "torchvision" (centred at i * stride, rounded half to even, ratio-major),
            "detectron2" (not rounded, size-major) or "detectron" (built from the box
            (0, 0, stride - 1, stride - 1) in whole pixels, ratio-major).
        like: the anchors get the kind, dtype and device of this array; None: NumPy float32.

    Returns:
        One (height * width * A, 4) array [x1, y1, x2, y2] per level, in image pixels, in the order
        y, x, anchor. Not differentiable.

    Raises:
        ValueError: lists of unequal length, sizes, ratios or strides that are not positive, an
            unknown convention.
        TypeError: ``like`` is no float32 or float64 array.

    Source: Ren et al., "Faster R-CNN" (2015), section 3.1.1; the rounding of each implementation.

    >>> import roiops
    >>> roiops.grid_anchors([(1, 2)], [16], [(32,)], [(1.0,)])[0]
    array([[-16., -16.,  16.,  16.],
           [  0., -16.,  32.,  16.]], dtype=float32)
    """
    op = "grid_anchors"
    xp, like = _adopt_like(op, like)
    levels = len(_check.sequence(op, "feature_sizes", feature_sizes, "(height, width)"))
    for name, values in (
        ("strides", strides), ("sizes", sizes), ("aspect_ratios", aspect_ratios),
    ):  # fmt: skip
        if len(_check.sequence(op, name, values, "one entry per level")) != levels:
            raise ValueError(
                f"{op}: {name} must have one entry per level ({levels}); got {len(values)}"
            )
    _check.choice(op, "convention", convention, _CONVENTIONS)
    anchors = []
    for level in range(levels):
        size, stride = feature_sizes[level], strides[level]
        pair = stride if isinstance(stride, (list, tuple)) else (stride, stride)
        if len(pair) != 2:
            raise ValueError(f"{op}: strides must be numbers or pairs (y, x); got {stride!r}")
        if len(_check.sequence(op, "feature_sizes", size, "(height, width)")) != 2:
            raise ValueError(f"{op}: feature_sizes must be pairs (height, width); got {size!r}")
        anchors.append(
            xp.call(
                _GRID_ANCHORS,
                like,
                _check.whole(op, "feature_sizes", size[0], 0),
                _check.whole(op, "feature_sizes", size[1], 0),
                _check.number(op, "strides", pair[0], low=0),
                _check.number(op, "strides", pair[1], low=0),
                _numbers(op, "sizes", sizes[level]),
                _numbers(op, "aspect_ratios", aspect_ratios[level]),
                convention,
            )
        )
    return anchors


def _adopt_like(op: str, like: Array | None) -> tuple[Namespace, Array]:
    xp, like = adopt(op, like=np.empty(0, np.float32) if like is None else like)
    _check.floating(op, "like", xp, like)
    return xp, like


def _numbers(op: str, name: str, values: Sequence[float]) -> list[float]:
    """The positive numbers of one level."""
    values = _check.sequence(op, name, values, "numbers for each level")
    return [_check.number(op, name, value, low=0) for value in values]


# fmt: off
def _allocate(xp, like, height, width, stride_y, stride_x, sizes, aspect_ratios, convention):
    shape = (height * width * len(sizes) * len(aspect_ratios), 4)
    return xp.empty(shape, xp.dtype(like), like)


def _compute(
    xp, anchors, like, height, width, stride_y, stride_x, sizes, aspect_ratios, convention
):
    xp.core.grid_anchors(
        xp.describe(anchors), height, width, stride_y, stride_x, sizes, aspect_ratios, convention,
        xp.execution(),
    )


_GRID_ANCHORS = Operator(
    "grid_anchors",
    "(Tensor like, SymInt height, SymInt width, float stride_y, float stride_x, float[] sizes, "
    "float[] aspect_ratios, str convention) -> Tensor",
    _allocate, _compute,
)
