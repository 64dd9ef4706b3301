"""Paste each predicted mask into the picture, in its box."""

import math

import numpy as np

from roiops.reference.precision import compute_dtype


def paste_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    threshold: float | None = 0.5,
    padding: int = 1,
    convention: str = "torchvision",
) -> np.ndarray:
    """masks (N, M, M) of probabilities in boxes (N, 4), on N images (height, width).

    bool (N, H, W): "torchvision" > threshold, "detectron2" >= threshold. threshold=None gives the
    probabilities in the masks' dtype (float32 for 16-bit masks). Pixels outside a box are 0; a box
    that is not finite or has no pixel leaves its image empty.

    "torchvision": the mask gets `padding` cells of zeros on each side, the box grows by
    (M + 2 padding) / M about its centre and is truncated to whole pixels x1..x2 inclusive, and the
    mask is resized to those pixels (bilinear, half-pixel centres, clamped at the mask's edge).
    "detectron2": each pixel centre is sampled in the exact box, with zeros around the mask;
    `padding` is not used.
    """
    height, width = image_size
    value_dtype = compute_dtype(masks)
    pasted = np.zeros((len(masks), height, width), value_dtype)
    for mask, box, image in zip(masks.astype(value_dtype), boxes, pasted, strict=True):
        box = box.astype(compute_dtype(boxes))
        if convention == "torchvision":
            mask = np.pad(mask, padding)
            scale = mask.shape[-1] / (mask.shape[-1] - 2 * padding)
            left, top, right, bottom = whole_pixel_box(box, scale)
            along_x = resize_taps(left, right, width, mask.shape[1])
            along_y = resize_taps(top, bottom, height, mask.shape[0])
        elif convention == "detectron2":
            mask = np.pad(mask, 1)  # the zeros its sampler reads around the mask
            along_x = centre_taps(box[0], box[2], width, mask.shape[1] - 2)
            along_y = centre_taps(box[1], box[3], height, mask.shape[0] - 2)
        else:
            raise ValueError(f"unknown pasting convention {convention!r}")
        image[np.ix_(along_y[0], along_x[0])] = interpolate(mask, along_y[1:], along_x[1:])
    if threshold is None:
        return pasted
    limit = value_dtype.type(threshold)
    return pasted > limit if convention == "torchvision" else pasted >= limit


# What one axis of the picture reads: pixels, low tap, high tap (in mask cells), weight of the high.
Taps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
NO_PIXELS: Taps = (np.zeros(0, np.int64),) * 3 + (np.zeros(0),)


def whole_pixel_box(box: np.ndarray, scale: float) -> np.ndarray:
    """The box enlarged about its centre and truncated to integers, as float64 (no overflow)."""
    real = box.dtype.type
    with np.errstate(all="ignore"):
        half = (box[2:] - box[:2]) * real(0.5) * real(scale)
        centre = (box[2:] + box[:2]) * real(0.5)
        return np.trunc(np.concatenate([centre - half, centre + half])).astype(np.float64)


def resize_taps(first: float, last: float, size: int, cells: int) -> Taps:
    """torchvision: `cells` resized to the pixels first..last, those of them inside [0, size)."""
    if not (math.isfinite(first) and math.isfinite(last)):
        return NO_PIXELS
    pixels = np.arange(size)
    pixels = pixels[(pixels >= first) & (pixels <= last)]
    extent = max(last - first + 1, 1)
    source = np.maximum((pixels - first + 0.5) * (cells / extent) - 0.5, 0)
    low = np.minimum(source.astype(np.int64), cells - 1)
    high = np.minimum(low + 1, cells - 1)
    return pixels, low, high, source - low


def centre_taps(start: float, end: float, size: int, cells: int) -> Taps:
    """detectron2: the pixel centres whose two taps touch the `cells` between start and end.

    Cell numbers are shifted by the one cell of zeros on each side.
    """
    start, end = float(start), float(end)
    if not (math.isfinite(start) and math.isfinite(end) and end > start):
        return NO_PIXELS
    pixels = np.arange(size)
    source = (pixels + 0.5 - start) / (end - start) * cells - 0.5
    touching = (source > -1) & (source < cells)
    pixels, source = pixels[touching], source[touching]
    low = np.floor(source)
    return pixels, low.astype(np.int64) + 1, low.astype(np.int64) + 2, source - low


def interpolate(
    mask: np.ndarray,
    along_y: tuple[np.ndarray, np.ndarray, np.ndarray],
    along_x: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Along x, then along y, in the mask's dtype: a fixed order, as the result is thresholded."""
    one = mask.dtype.type(1)
    low_y, high_y, weight_y = along_y
    low_x, high_x, weight_x = along_x
    to_x = weight_x.astype(mask.dtype)[None, :]
    to_y = weight_y.astype(mask.dtype)[:, None]
    upper = (one - to_x) * mask[np.ix_(low_y, low_x)] + to_x * mask[np.ix_(low_y, high_x)]
    lower = (one - to_x) * mask[np.ix_(high_y, low_x)] + to_x * mask[np.ix_(high_y, high_x)]
    return (one - to_y) * upper + to_y * lower
