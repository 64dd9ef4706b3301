"""Box coding: a box as an offset from another (Girshick et al., R-CNN, appendix C).

dx = wx (cx* - cx) / w,  dy = wy (cy* - cy) / h,  dw = ww ln(w* / w),  dh = wh ln(h* / h),
with (cx, cy, w, h) of the proposal and starred values of the box to be reached. As torchvision's
``BoxCoder``: only the upper end of dw and dh is limited, at ln(1000 / 16), before the exponential.
"""

import math

import numpy as np

from roiops.reference.boxes import clip_boxes_to_image
from roiops.reference.precision import compute_dtype

Centred = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def centre_and_size(boxes: np.ndarray, plus_one: bool) -> Centred:
    """cx, cy, w, h of boxes (..., 4). plus_one counts the last pixel: w = x2 - x1 + 1."""
    real = boxes.dtype.type
    one = real(1 if plus_one else 0)
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    width, height = x2 - x1 + one, y2 - y1 + one
    return x1 + real(0.5) * width, y1 + real(0.5) * height, width, height


def encode_boxes(
    reference_boxes: np.ndarray,
    proposals: np.ndarray,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    *,
    plus_one: bool = False,
) -> np.ndarray:
    """Deltas that take proposals (..., 4) to reference_boxes (..., 4)."""
    dtype = compute_dtype(reference_boxes, proposals)
    wx, wy, ww, wh = (dtype.type(weight) for weight in weights)
    to_x, to_y, to_width, to_height = centre_and_size(reference_boxes.astype(dtype), plus_one)
    x, y, width, height = centre_and_size(proposals.astype(dtype), plus_one)
    with np.errstate(all="ignore"):
        deltas = [
            wx * (to_x - x) / width,
            wy * (to_y - y) / height,
            ww * np.log(to_width / width),
            wh * np.log(to_height / height),
        ]
    return np.stack(deltas, axis=-1).astype(np.result_type(reference_boxes, proposals))


def decode_boxes(
    deltas: np.ndarray,
    boxes: np.ndarray,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    *,
    scale_clamp: float = math.log(1000.0 / 16),
    clip_to: tuple[int, int] | None = None,
    plus_one: bool = False,
) -> np.ndarray:
    """Boxes reached from boxes (..., N, 4) by deltas (..., N, 4K): K boxes a row, (..., N, 4K).

    boxes may be (N, 4) for batched deltas (B, N, 4K): they are shared by the images.
    clip_to = (height, width) clamps the result to that image.
    """
    dtype = compute_dtype(deltas, boxes)
    real = dtype.type
    by_class = deltas.astype(dtype).reshape(*deltas.shape[:-1], deltas.shape[-1] // 4, 4)
    x, y, width, height = (v[..., None] for v in centre_and_size(boxes.astype(dtype), plus_one))
    dx, dy, dw, dh = (by_class[..., k] / real(weights[k]) for k in range(4))
    with np.errstate(all="ignore"):
        centre_x, centre_y = dx * width + x, dy * height + y
        half_width = real(0.5) * (np.exp(np.minimum(dw, real(scale_clamp))) * width)
        half_height = real(0.5) * (np.exp(np.minimum(dh, real(scale_clamp))) * height)
    last = real(1 if plus_one else 0)
    decoded = np.stack(
        [
            centre_x - half_width,
            centre_y - half_height,
            centre_x + half_width - last,
            centre_y + half_height - last,
        ],
        axis=-1,
    )
    if clip_to is not None:
        decoded = clip_boxes_to_image(decoded, clip_to)
    return decoded.reshape(deltas.shape).astype(np.result_type(deltas, boxes))
