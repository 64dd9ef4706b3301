"""Mask targets: what a mask head is to predict for a box of an annotated bitmap."""

import numpy as np

from roiops.reference.roi_align import as_pair, regions
from roiops.reference.roi_sampling import axis_weights


def crop_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    size: int | tuple[int, int],
    *,
    convention: str = "torchvision",
) -> np.ndarray:
    """masks (N, H, W), boxes (N, 4) → (N, height, width): box n of mask n by RoIAlign.

    "torchvision": aligned=False, the mean of the samples, float32 (float64 of float64 masks).
    "detectron2": aligned=True, and whether that mean is at least 0.5.

    The mean decides, so its arithmetic is fixed: in float64 whatever the masks are, the rows added
    in order, then the columns, then one division. In float32 a mean of exactly 1/2, of a mask's
    edge in the middle of a bin, would be rounded to either side of it. A cell of weight 0 is not
    read, also if it is NaN.
    """
    height, width = as_pair(size)
    placement = "align" if convention == "torchvision" else "aligned"
    rois = np.concatenate([np.zeros_like(boxes[:, :1]), boxes], 1)
    means = np.zeros((len(masks), height, width))
    one_level = np.zeros(len(masks), np.int64)
    for n, region in regions(
        rois, (height, width), [1.0], [masks.shape[1:]], one_level, -1, placement
    ):
        y, x = axis_weights(region.y), axis_weights(region.x)
        cells = masks[n][np.ix_(y.cells, x.cells)].astype(np.float64)
        columns = np.zeros((height, len(x.cells)))
        for weight, row in zip(y.value.T, cells, strict=True):
            columns += np.where(weight[:, None] != 0, weight[:, None] * row, 0)
        sums = np.zeros((height, width))
        for weight, column in zip(x.value.T, columns.T, strict=True):
            sums += np.where(weight != 0, column[:, None] * weight, 0)
        means[n] = sums / region.count
    if convention == "torchvision":
        return means.astype(np.float64 if masks.dtype == np.float64 else np.float32)
    return means >= 0.5
