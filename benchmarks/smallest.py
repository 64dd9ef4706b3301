"""Calls with next to nothing to do: what is measured is the way to the kernel and back."""

import numpy as np

from roiops.testing import Case

_MAP = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
_ROIS = np.array([[0, 0, 0, 2, 2]], np.float32)
_BOXES = np.array([[0, 0, 2, 2], [0, 0, 2, 1.5]], np.float32)

SMALLEST = [
    Case("smallest roi_align", "roi_align", lambda rng, full: (_MAP, _ROIS, 1, 1.0, 1)),
    Case("smallest roi_pool", "roi_pool", lambda rng, full: (_MAP, _ROIS, 1)),
    Case("smallest nms", "nms", lambda rng, full: (_BOXES, _BOXES[:, 3].copy(), 0.5)),
    Case("smallest box_iou", "box_iou", lambda rng, full: (_BOXES, _BOXES)),
    Case("smallest clip", "clip_boxes_to_image", lambda rng, full: (_BOXES, (1, 1))),
    Case("smallest encode", "encode_boxes", lambda rng, full: (_BOXES, _BOXES + 1)),
]
