"""Region operators for object detection on NumPy and torch: one compiled core."""

from typing import Any as _Any

from roiops import onnx, reference
from roiops._arrays import load_torch as _load_torch
from roiops._config import backends, get_num_threads, set_num_threads, show_config
from roiops.ops.anchors import cell_anchors, grid_anchors
from roiops.ops.box_area import box_area
from roiops.ops.box_coding import (
    decode_boxes,
    decode_boxes_backward,
    encode_boxes,
    encode_boxes_backward,
)
from roiops.ops.box_convert import box_convert
from roiops.ops.box_iou import (
    box_iou,
    box_iou_backward,
    complete_box_iou,
    complete_box_iou_backward,
    distance_box_iou,
    distance_box_iou_backward,
    generalized_box_iou,
    generalized_box_iou_backward,
)
from roiops.ops.clip_boxes import clip_boxes_to_image
from roiops.ops.crop_masks import crop_masks
from roiops.ops.fpn_levels import fpn_levels
from roiops.ops.keypoints import heatmaps_to_keypoints, keypoints_to_heatmap
from roiops.ops.masks_to_boxes import masks_to_boxes
from roiops.ops.match_boxes import match_boxes
from roiops.ops.multiscale_roi_align import (
    multiscale_roi_align,
    multiscale_roi_align_backward,
)
from roiops.ops.nms import batched_nms, nms, padded_nms
from roiops.ops.paste_masks import paste_masks
from roiops.ops.paste_masks_rle import paste_masks_rle
from roiops.ops.ps_roi_align import ps_roi_align, ps_roi_align_backward
from roiops.ops.ps_roi_pool import ps_roi_pool, ps_roi_pool_backward
from roiops.ops.rasterize_polygons import rasterize_polygons
from roiops.ops.remove_small_boxes import remove_small_boxes
from roiops.ops.roi_align import roi_align, roi_align_backward
from roiops.ops.roi_pool import roi_pool, roi_pool_backward
from roiops.ops.roi_warp import roi_warp, roi_warp_backward
from roiops.ops.soft_nms import soft_nms

__version__ = "0.1.0"

__all__ = [
    "backends",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "box_iou_backward",
    "cell_anchors",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_backward",
    "crop_masks",
    "decode_boxes",
    "decode_boxes_backward",
    "distance_box_iou",
    "distance_box_iou_backward",
    "encode_boxes",
    "encode_boxes_backward",
    "fpn_levels",
    "generalized_box_iou",
    "generalized_box_iou_backward",
    "get_num_threads",
    "grid_anchors",
    "heatmaps_to_keypoints",
    "keypoints_to_heatmap",
    "masks_to_boxes",
    "match_boxes",
    "multiscale_roi_align",
    "multiscale_roi_align_backward",
    "nms",
    "onnx",
    "padded_nms",
    "paste_masks",
    "paste_masks_rle",
    "ps_roi_align",
    "ps_roi_align_backward",
    "ps_roi_pool",
    "ps_roi_pool_backward",
    "rasterize_polygons",
    "reference",
    "remove_small_boxes",
    "roi_align",
    "roi_align_backward",
    "roi_pool",
    "roi_pool_backward",
    "roi_warp",
    "roi_warp_backward",
    "set_num_threads",
    "show_config",
    "soft_nms",
]

# torch modules in roiops.nn, which is loaded, and torch with it, when one of them is asked for.
_TORCH_MODULES = (
    "AnchorGenerator",
    "MultiScaleRoIAlign",
    "PSRoIAlign",
    "PSRoIPool",
    "RoIAlign",
    "RoIPool",
    "RoIWarp",
)


def __getattr__(name: str) -> _Any:
    if name not in _TORCH_MODULES:
        raise AttributeError(f"module 'roiops' has no attribute {name!r}")
    try:
        from roiops import nn
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            f"roiops.{name} is a torch module: it needs torch (pip install torch)"
        ) from error
    return getattr(nn, name)


def __dir__() -> list[str]:
    from importlib.util import find_spec

    # Without torch they cannot be had: whoever looks at every member would stumble over them.
    return sorted({*globals(), *(_TORCH_MODULES if find_spec("torch") else ())})


_load_torch()
