"""Every operator in plain NumPy: the executable specification.

Same names and arguments as the public functions, NumPy arrays only, no checks, written to be read
beside the papers. The other backends are tested against it: what they decide (an NMS list, a
level, a match, a winning sample, a pasted pixel) must be equal, values agree to rounding.
"""

from roiops.reference.anchors import cell_anchors, grid_anchors
from roiops.reference.box_coding import decode_boxes, encode_boxes
from roiops.reference.box_convert import box_convert
from roiops.reference.boxes import (
    box_area,
    box_iou,
    clip_boxes_to_image,
    masks_to_boxes,
    remove_small_boxes,
)
from roiops.reference.crop_masks import crop_masks
from roiops.reference.fpn_levels import fpn_levels
from roiops.reference.iou_kinds import complete_box_iou, distance_box_iou, generalized_box_iou
from roiops.reference.keypoints import heatmaps_to_keypoints, keypoints_to_heatmap
from roiops.reference.matching import match_boxes
from roiops.reference.nms import batched_nms, nms, padded_nms
from roiops.reference.paste_masks import paste_masks
from roiops.reference.paste_masks_rle import paste_masks_rle
from roiops.reference.ps_roi_align import ps_roi_align, ps_roi_align_backward
from roiops.reference.ps_roi_pool import ps_roi_pool, ps_roi_pool_backward
from roiops.reference.rasterize_polygons import rasterize_polygons
from roiops.reference.roi_align import (
    multiscale_roi_align,
    multiscale_roi_align_backward,
    roi_align,
    roi_align_backward,
)
from roiops.reference.roi_pool import roi_pool, roi_pool_backward
from roiops.reference.roi_warp import roi_warp, roi_warp_backward
from roiops.reference.soft_nms import soft_nms

__all__ = [
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "cell_anchors",
    "clip_boxes_to_image",
    "complete_box_iou",
    "crop_masks",
    "decode_boxes",
    "distance_box_iou",
    "encode_boxes",
    "fpn_levels",
    "generalized_box_iou",
    "grid_anchors",
    "heatmaps_to_keypoints",
    "keypoints_to_heatmap",
    "masks_to_boxes",
    "match_boxes",
    "multiscale_roi_align",
    "multiscale_roi_align_backward",
    "nms",
    "padded_nms",
    "paste_masks",
    "paste_masks_rle",
    "ps_roi_align",
    "ps_roi_align_backward",
    "ps_roi_pool",
    "ps_roi_pool_backward",
    "rasterize_polygons",
    "remove_small_boxes",
    "roi_align",
    "roi_align_backward",
    "roi_pool",
    "roi_pool_backward",
    "roi_warp",
    "roi_warp_backward",
    "soft_nms",
]
