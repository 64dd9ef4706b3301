"""Mask targets: annotated polygons, filled in boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator


@leaf
def rasterize_polygons(
    polygons: Sequence[Sequence[Sequence[float] | Array]],
    boxes: Array,
    size: int | tuple[int, int],
) -> Array:
    """What a mask head is to predict for each box: its object's polygons, filled in a small grid.

    The polygons are moved and scaled so that the box fills the grid (sides shorter than a pixel
    count as one), then filled pixel for pixel as the COCO API does, and united.

    Args:
        polygons: for each box a list of polygons (none: an empty target), each a flat sequence
            [x0, y0, x1, y1, ...] or array of at least three points in image pixels, or a (P, 2)
            array; of any kind. Self-intersecting ones are filled by the even-odd rule.
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, any floating dtype (16-bit ones are read as
            float32).
        size: (height, width) of the targets, or one int for both.

    Returns:
        (N, height, width) bool, of the boxes' kind. A box with a non-finite corner or side is
        empty. Vertices farther than 2^40 / 5 target pixels from the box's corner are moved to
        there. Not differentiable.

    Raises:
        ValueError: wrong shape or size; a polygon of fewer than three points, or not finite.
        TypeError: an array of another kind or dtype, a polygon that is not made of numbers.

    Source: polys_to_mask_wrt_box of Detectron, in float64; filling as pycocotools.mask.frPyObjects.

    >>> import numpy as np, roiops
    >>> triangle = [[10, 10, 18, 10, 10, 18]]
    >>> roiops.rasterize_polygons([triangle], np.array([[10, 10, 18, 18.0]]), 4)[0].astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 0, 0],
           [1, 0, 0, 0],
           [0, 0, 0, 0]])
    """
    op = "rasterize_polygons"
    xp, boxes = adopt(op, boxes=boxes)
    height, width = _check.size_pair(op, "size", size)
    vertices, *offsets = (xp.from_numpy(x, boxes) for x in _flat(op, polygons))
    boxes = _check.promoted(xp, boxes)
    return xp.call(_RASTERIZE_POLYGONS, vertices, *offsets, boxes, height, width)


def _flat(op: str, polygons: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All vertices (V, 2), where each polygon begins among them, where each object among those."""
    outlines, objects = [np.empty((0, 2))], [0]
    for n, outlines_of_one in enumerate(_check.sequence(op, "polygons", polygons, "lists")):
        name = f"polygons[{n}]"
        for i, outline in enumerate(_check.sequence(op, name, outlines_of_one, "polygons")):
            outlines.append(_points(op, f"{name}[{i}]", outline))
        objects.append(len(outlines) - 1)
    starts = np.cumsum([len(points) for points in outlines], dtype=np.int64)
    return np.concatenate(outlines), starts, np.array(objects, np.int64)


def _points(op: str, name: str, outline: Any) -> np.ndarray:
    """One polygon as (P, 2) float64."""
    if not isinstance(outline, (list, tuple)):
        xp, outline = adopt(op, **{name: outline})
        outline = xp.to_numpy(_check.promoted(xp, outline))  # NumPy has no bfloat16
    try:
        values = np.asarray(outline)
        if values.dtype.kind not in "iuf":
            raise TypeError(f"dtype {values.dtype}")
    except Exception as error:  # whatever an odd object raises
        raise TypeError(f"{op}: {name} must be numbers x, y, x, y, ...; got {error}") from error
    flat = values.ndim == 1 and values.size % 2 == 0
    if not (flat or (values.ndim == 2 and values.shape[1] == 2)) or values.size < 6:
        raise ValueError(
            f"{op}: {name} must have shape (2 P,) or (P, 2) with P at least 3; got {values.shape}"
        )
    points = values.reshape(-1, 2).astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(
            f"{op}: {name} must be finite; got {points[~np.isfinite(points).all(1)][0].tolist()}"
        )
    return points


# fmt: off
def _allocate(xp, vertices, polygons, objects, boxes, height, width):
    op = "rasterize_polygons"
    _check.boxes(op, "boxes", xp, boxes)
    n = boxes.shape[0]
    if objects.shape[0] != n + 1:
        raise ValueError(
            f"{op}: polygons must be one list per box ({n}); got {objects.shape[0] - 1}"
        )
    return xp.empty((n, height, width), "bool", boxes)


def _compute(xp, filled, vertices, polygons, objects, boxes, height, width):
    xp.core.rasterize_polygons(
        xp.describe(filled), xp.describe(vertices), xp.describe(polygons), xp.describe(objects),
        xp.describe(boxes), xp.execution(),
    )


_RASTERIZE_POLYGONS = Operator(
    "rasterize_polygons",
    "(Tensor vertices, Tensor polygons, Tensor objects, Tensor boxes, SymInt height, SymInt width) "
    "-> Tensor",
    _allocate, _compute,
)
