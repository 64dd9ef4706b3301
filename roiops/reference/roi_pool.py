"""RoIPool (Girshick, Fast R-CNN, section 2.1): the maximum over the whole cells of each bin."""

from collections.abc import Iterator, Sequence

import numpy as np

from roiops.reference.precision import compute_dtype
from roiops.reference.roi_align import as_pair, as_rois
from roiops.reference.rounding import round_half_away


def bin_cells(
    low_end: np.floating,
    high_end: np.floating,
    spatial_scale: float,
    bins: int,
    size: int,
    last_cell: bool = True,
) -> list[range]:
    """The cells of each bin along one axis, in the boxes' precision, as torchvision counts them.

    Both ends are rounded, and a bin takes every cell that it touches: neighbouring bins may share
    one. last_cell: those at the high end of the RoI and of the map are read too.
    """
    real = type(low_end)
    start, end = (round_half_away(real(x * real(spatial_scale))) for x in (low_end, high_end))
    extent = max(end - start + real(last_cell), real(1)) / real(bins)
    limit = size if last_cell else size - 1
    cells = []
    for p in range(bins):
        first = np.floor(real(p) * extent) + start
        last = np.ceil(real(p + 1) * extent) + start
        if np.isfinite([first, last]).all():
            cells.append(range(*(int(np.clip(end, 0, limit)) for end in (first, last))))
        else:
            cells.append(range(0))
    return cells


def winners(
    image: np.ndarray,
    roi: np.ndarray,
    output_size: tuple[int, int],
    spatial_scale: float,
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """(ph, pw, rows (C,), columns (C,)) of the greatest cell of each bin that has any.

    image (C, H, W). The first in row-major order among equals; the first NaN before all others.
    """
    if not np.isfinite(roi).all():
        return
    with np.errstate(over="ignore", invalid="ignore"):
        bins_y = bin_cells(roi[2], roi[4], spatial_scale, output_size[0], image.shape[1])
        bins_x = bin_cells(roi[1], roi[3], spatial_scale, output_size[1], image.shape[2])
    for ph, rows in enumerate(bins_y):
        for pw, columns in enumerate(bins_x):
            if rows and columns:
                patch = image[:, rows.start : rows.stop, columns.start : columns.stop]
                cells = patch.reshape(len(image), len(rows) * len(columns))
                flat = cells.argmax(1)  # NumPy's rule is the rule above
                row, column = np.divmod(flat, len(columns))
                yield ph, pw, rows.start + row, columns.start + column


def roi_pool(
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """input (N, C, H, W), boxes (K, 5) or a list of (L_i, 4) → (K, C, PH, PW); empty bins are 0."""
    rois = as_rois(boxes)
    size, channels = as_pair(output_size), np.arange(input.shape[1])
    out = np.zeros((len(rois), input.shape[1], *size), input.dtype)
    for k, roi in enumerate(rois.astype(compute_dtype(rois))):
        image = input[int(roi[0])]
        for ph, pw, rows, columns in winners(image, roi, size, spatial_scale):
            out[k, :, ph, pw] = image[channels, rows, columns]
    return out


def roi_pool_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """Gradient of sum(grad_output * roi_pool(...)) by the input: each bin's goes to its winner."""
    rois = as_rois(boxes)
    size, channels = grad_output.shape[2:], np.arange(input.shape[1])
    grad_input = np.zeros(input.shape)
    for k, roi in enumerate(rois.astype(compute_dtype(rois))):
        image = int(roi[0])
        for ph, pw, rows, columns in winners(input[image], roi, size, spatial_scale):
            grad_input[image, channels, rows, columns] += grad_output[k, :, ph, pw]
    return grad_input.astype(input.dtype)
