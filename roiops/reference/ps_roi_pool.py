"""Position-sensitive RoIPool (Dai et al., R-FCN, section 3): each bin averages its own channel.

Input channel (c PH + ph) PW + pw is what bin (ph, pw) of output channel c reads.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roiops.reference.precision import compute_dtype
from roiops.reference.ps_roi_align import by_bin
from roiops.reference.roi_align import as_pair, as_rois
from roiops.reference.roi_pool import bin_cells


def bins_of(
    roi: np.ndarray, size: tuple[int, int], spatial_scale: float, map_size: tuple[int, int]
) -> Iterator[tuple[int, int, range, range]]:
    """(ph, pw, rows, columns) of each bin that has any cells.

    The cells are RoIPool's without the last ones, as in torchvision: the cell at the rounded high
    end is outside the RoI (which has at least one cell all the same), and the last row and column
    of the map are never read.
    """
    if not np.isfinite(roi).all():
        return
    with np.errstate(over="ignore", invalid="ignore"):
        bins_y = bin_cells(roi[2], roi[4], spatial_scale, size[0], map_size[0], last_cell=False)
        bins_x = bin_cells(roi[1], roi[3], spatial_scale, size[1], map_size[1], last_cell=False)
    for ph, rows in enumerate(bins_y):
        for pw, columns in enumerate(bins_x):
            if rows and columns:
                yield ph, pw, rows, columns


def ps_roi_pool(
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """input (N, C PH PW, H, W), boxes (K, 5) or a list of (L_i, 4) → (K, C, PH, PW)."""
    rois, size = as_rois(boxes), as_pair(output_size)
    features = by_bin(input.astype(compute_dtype(input)), size)
    out = np.zeros((len(rois), features.shape[1], *size), features.dtype)
    for k, roi in enumerate(rois.astype(compute_dtype(rois))):
        for ph, pw, rows, columns in bins_of(roi, size, spatial_scale, input.shape[2:]):
            patch = features[int(roi[0]), :, ph, pw, rows.start : rows.stop]
            out[k, :, ph, pw] = patch[..., columns.start : columns.stop].mean(axis=(1, 2))
    return out.astype(input.dtype)


def ps_roi_pool_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """Gradient of sum(grad_output * ps_roi_pool(...)) by the input: each bin shares its out."""
    rois = as_rois(boxes)
    size = grad_output.shape[2:]
    grad_features = np.zeros(by_bin(input, size).shape)
    for k, roi in enumerate(rois.astype(compute_dtype(rois))):
        for ph, pw, rows, columns in bins_of(roi, size, spatial_scale, input.shape[2:]):
            share = grad_output[k, :, ph, pw].astype(np.float64) / (len(rows) * len(columns))
            patch = grad_features[int(roi[0]), :, ph, pw, rows.start : rows.stop]
            patch[..., columns.start : columns.stop] += share[:, None, None]
    return grad_features.reshape(input.shape).astype(input.dtype)
