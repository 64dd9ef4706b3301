"""Keypoints and heatmaps over a box: targets for training, and what a predicted map says."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator

_MAX_SIZE = 2**30
_FLOATING = "float16, bfloat16, float32 or float64"


@leaf
def keypoints_to_heatmap(keypoints: Array, boxes: Array, size: int) -> tuple[Array, Array]:
    """The cell of each keypoint in a heatmap over its box: the class that a keypoint head learns.

    Args:
        keypoints: (N, K, 3) [x, y, visibility] in image pixels, any floating dtype (16-bit ones
            are read as float32).
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, one per row of keypoints, of the same dtype.
        size: cells along one side of the heatmap.

    Returns:
        Two int64 arrays (N, K): the cells, y * size + x with x = floor((x - x1) * size / width)
        and y alike, and which of them are valid, 1 or 0. A keypoint at x2 or y2 belongs to the
        last cell. One that is outside its box or whose visibility is not greater than 0 is not
        valid and has cell 0; so is every keypoint of a box whose sides are not positive and
        finite. Not differentiable.

    Raises:
        ValueError: wrong shape or size.
        TypeError: an array of another kind or dtype.

    Source: He et al., "Mask R-CNN" (2017), section 5; arithmetic of torchvision's
    keypoints_to_heatmap, except that there a keypoint at the end of an empty box is valid.

    >>> import numpy as np, roiops
    >>> keypoints = np.array([[[15, 10, 2], [30, 20, 1], [31, 20, 1]]], np.float32)
    >>> roiops.keypoints_to_heatmap(keypoints, np.array([[10, 10, 30, 20]], np.float32), 4)
    (array([[ 1, 15,  0]]), array([[1, 1, 0]]))
    """
    op = "keypoints_to_heatmap"
    xp, keypoints, boxes = adopt(op, keypoints=keypoints, boxes=boxes)
    keypoints, boxes = _check.promoted(xp, keypoints), _check.promoted(xp, boxes)
    return xp.call(_ENCODE, keypoints, boxes, _check.whole(op, "size", size, 1, _MAX_SIZE))


@leaf
def heatmaps_to_keypoints(heatmaps: Array, boxes: Array) -> Array:
    """Where each predicted heatmap has its maximum, at the resolution of the picture.

    Each map is resized to the whole pixels of its box (bicubic, a = -0.75): the sides, at least 1
    and rounded up. Sides beyond 4096 pixels are resized to 4096, so that no box costs more. The
    resized map is not stored.

    Args:
        heatmaps: (N, K, H, W) logits, any floating dtype (16-bit ones are read as float32).
        boxes: (N, 4) [x1, y1, x2, y2] in image pixels, one per row of heatmaps, of the same dtype.

    Returns:
        (N, K, 3) [x, y, score] in the dtype of both (float32 for 16-bit ones). The score is the
        maximum of the resized map, the place is the centre of its pixel; of equal values the first
        in reading order, and the first NaN if there is one. A box with a non-finite corner or side
        gives zeros. Not differentiable.

    Raises:
        ValueError: wrong shape.
        TypeError: an array of another kind or dtype.

    Source: He et al., "Mask R-CNN" (2017), section 5; arithmetic of torchvision's
    heatmaps_to_keypoints, which returns the scores as a second array and 1 in their place here.

    >>> import numpy as np, roiops
    >>> heatmap = np.zeros((1, 1, 4, 4), np.float32)
    >>> heatmap[0, 0, 1, 2] = 5
    >>> roiops.heatmaps_to_keypoints(heatmap, np.array([[10, 10, 14, 14]], np.float32))
    array([[[12.5, 11.5,  5. ]]], dtype=float32)
    """
    xp, heatmaps, boxes = adopt("heatmaps_to_keypoints", heatmaps=heatmaps, boxes=boxes)
    return xp.call(_DECODE, _check.promoted(xp, heatmaps), _check.promoted(xp, boxes))


# fmt: off
def _check_boxes(op: str, xp: Namespace, name: str, x: Array, boxes: Array) -> None:
    n = x.shape[0]
    _check.floating(op, name, xp, x, _FLOATING)
    _check.shape(op, "boxes", f"({n}, 4), one per row of {name}", boxes,
                 len(boxes.shape) == 2 and boxes.shape[0] == n and boxes.shape[1] == 4)
    _check.floating(op, "boxes", xp, boxes, _FLOATING)
    _check.same_dtype(op, "boxes", xp, boxes, name, x)


def _allocate_cells(xp, keypoints, boxes, size):
    op = "keypoints_to_heatmap"
    _check.shape(op, "keypoints", "(N, K, 3) [x, y, visibility]", keypoints,
                 len(keypoints.shape) == 3 and keypoints.shape[2] == 3)
    _check_boxes(op, xp, "keypoints", keypoints, boxes)
    shape = tuple(keypoints.shape[:2])
    return xp.empty(shape, "int64", keypoints), xp.empty(shape, "int64", keypoints)


def _compute_cells(xp, outputs, keypoints, boxes, size):
    cells, valid = outputs
    xp.core.keypoints_to_heatmap(
        xp.describe(cells), xp.describe(valid), xp.describe(keypoints), xp.describe(boxes), size,
        xp.execution(),
    )


def _allocate_keypoints(xp, heatmaps, boxes):
    op = "heatmaps_to_keypoints"
    _check.shape(op, "heatmaps", "(N, K, H, W) with H, W > 0", heatmaps,
                 len(heatmaps.shape) == 4 and heatmaps.shape[2] > 0 and heatmaps.shape[3] > 0)
    _check_boxes(op, xp, "heatmaps", heatmaps, boxes)
    return xp.empty((*heatmaps.shape[:2], 3), xp.dtype(heatmaps), heatmaps)


def _compute_keypoints(xp, keypoints, heatmaps, boxes):
    xp.core.heatmaps_to_keypoints(
        xp.describe(keypoints), xp.describe(heatmaps), xp.describe(boxes), xp.execution()
    )


_ENCODE = Operator(
    "keypoints_to_heatmap",
    "(Tensor keypoints, Tensor boxes, SymInt size) -> (Tensor, Tensor)",
    _allocate_cells, _compute_cells,
)
_DECODE = Operator(
    "heatmaps_to_keypoints",
    "(Tensor heatmaps, Tensor boxes) -> Tensor",
    _allocate_keypoints, _compute_keypoints,
)
