"""Keypoints and heatmaps over a box: training targets, and what a predicted map says.

A heatmap lies over its box as a picture does: cell i of M covers [i, i + 1) / M of the side.
"""

import numpy as np

from roiops.reference.precision import compute_dtype

LONGEST = 4096  # pixels along one side of a resized heatmap


def keypoints_to_heatmap(
    keypoints: np.ndarray, boxes: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each keypoint in a heatmap of size x size over its box: y * size + x.

    keypoints (N, K, 3) [x, y, visibility], boxes (N, 4). int64 (N, K) both: cells, and valid, 1 or
    0. The upper ends of a box belong to its last cells. A keypoint that is not visible (> 0) or
    outside is not valid and has cell 0, and so has every keypoint of a box without area, or whose
    sides are not finite.
    """
    dtype = compute_dtype(keypoints, boxes)
    x, y, visibility = np.moveaxis(keypoints.astype(dtype), -1, 0)
    x1, y1, x2, y2 = (side[:, None] for side in boxes.astype(dtype).T)
    with np.errstate(all="ignore"):
        inside_x, column = cells_along(x, x1, x2, size)
        inside_y, row = cells_along(y, y1, y2, size)
    valid = inside_x & inside_y & (visibility > 0)
    return np.where(valid, row * size + column, 0), valid.astype(np.int64)


def cells_along(
    at: np.ndarray, low: np.ndarray, high: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: is a coordinate in the box, and in which of its cells."""
    real = at.dtype.type
    side, at_end = high - low, at == high
    cell = np.where(at_end, real(0), np.floor((at - low) * (real(size) / side)))
    inside = (side > 0) & np.isfinite(side) & (cell >= 0) & (cell < real(size))
    cell = np.where(inside, cell, 0).astype(np.int64)
    return inside, np.where(at_end, size - 1, cell)


def heatmaps_to_keypoints(heatmaps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The place of each heatmap's maximum, at the resolution of the picture.

    heatmaps (N, K, H, W), boxes (N, 4), result (N, K, 3) [x, y, score]. Each map is resized
    (bicubic) to the whole pixels of its box: the sides, at least 1 and rounded up; at most LONGEST.
    The first of the greatest values there (the first NaN, if there is one) is the score; the centre
    of its pixel, in the exact box, the place. A box whose corner or side is not finite gives zeros.
    """
    dtype = compute_dtype(heatmaps, boxes)
    keypoints = np.zeros((*heatmaps.shape[:2], 3), dtype)
    one, half = dtype.type(1), dtype.type(0.5)
    for n, (maps, box) in enumerate(zip(heatmaps.astype(dtype), boxes.astype(dtype), strict=True)):
        with np.errstate(all="ignore"):
            sides = np.maximum(box[2:] - box[:2], one)
        if not (np.isfinite(box).all() and np.isfinite(sides).all()):
            continue
        width, height = (int(pixels) for pixels in np.minimum(np.ceil(sides), LONGEST))
        pixel = sides / np.array([width, height], dtype)
        columns = bicubic_taps(width, maps.shape[2], dtype)
        rows = bicubic_taps(height, maps.shape[1], dtype)
        for k, heatmap in enumerate(maps):
            with np.errstate(all="ignore"):  # a heatmap that is not finite
                stretched = weighted_sum(heatmap.T, *columns).T
                resized = weighted_sum(stretched, *rows)
            at = int(np.argmax(resized))
            place = np.array([at % width, at // width], dtype)
            keypoints[n, k, :2] = (place + half) * pixel + box[:2]
            keypoints[n, k, 2] = resized.flat[at]
    return keypoints


def bicubic_taps(pixels: int, cells: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The four cells (4, pixels) that each pixel of a resized axis reads, and their weights.

    Keys, "Cubic convolution interpolation" (1981), equation 4, with a = -0.75. Cell and pixel i
    have their centre at i + 0.5; beyond the last cell the last cell is read again.
    """
    real = dtype.type
    a = real(-0.75)

    def near(t: np.ndarray) -> np.ndarray:  # weight at a distance up to 1
        return ((a + real(2)) * t - (a + real(3))) * t * t + real(1)

    def far(t: np.ndarray) -> np.ndarray:  # between 1 and 2
        return ((a * t - real(5) * a) * t + real(8) * a) * t - real(4) * a

    centre = np.arange(pixels).astype(dtype) + real(0.5)
    source = (real(cells) / real(pixels)) * centre - real(0.5)
    low = np.floor(source)
    t = source - low
    weights = np.stack([far(t + real(1)), near(t), near(real(1) - t), far(real(2) - t)])
    taps = low.astype(np.int64) + np.arange(-1, 3)[:, None]
    return np.clip(taps, 0, cells - 1), weights


def weighted_sum(cells: np.ndarray, taps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Along the first axis: four products, added from the lowest tap to the highest.

    The order is fixed, as the greatest of these sums decides.
    """
    total = weights[0][:, None] * cells[taps[0]]
    for tap, weight in zip(taps[1:], weights[1:], strict=True):
        total = total + weight[:, None] * cells[tap]
    return total
