"""The compiled module: one function per kernel of the core.

Everything is positional. Outputs come first and are allocated by the caller; arguments have been
checked by roiops.ops. ``max`` chooses the maximum instead of the mean.
"""

from collections.abc import Sequence

import numpy as np

Described = np.ndarray | tuple[int, str, Sequence[int], Sequence[int]]
"""A NumPy array, or (address, dtype name, shape, strides in elements) of another library's."""

Execution = int
"""A number of threads."""

def num_threads() -> int: ...
def set_num_threads(threads: int, /) -> None: ...
def active_isa() -> str: ...
def roi_align_forward(
    output: Described,
    inputs: Sequence[Described],
    rois: Described,
    levels: Described | None,
    scales: Sequence[float],
    sampling_ratio: int,
    placement: str,
    max: bool,
    execution: Execution,
    values: Sequence[Described],
    /,
) -> None: ...
def roi_align_grad_input(
    grad_inputs: Sequence[Described],
    grad_output: Described,
    inputs: Sequence[Described],
    rois: Described,
    levels: Described | None,
    scales: Sequence[float],
    sampling_ratio: int,
    placement: str,
    max: bool,
    execution: Execution,
    /,
) -> None: ...
def roi_align_grad_rois(
    grad_rois: Described,
    grad_output: Described,
    inputs: Sequence[Described],
    rois: Described,
    levels: Described | None,
    scales: Sequence[float],
    sampling_ratio: int,
    placement: str,
    max: bool,
    execution: Execution,
    /,
) -> None: ...
def roi_pool_forward(
    output: Described,
    input: Described,
    rois: Described,
    spatial_scale: float,
    execution: Execution,
    values: Described | None,
    /,
) -> None: ...
def roi_pool_grad_input(
    grad_input: Described,
    grad_output: Described,
    input: Described,
    rois: Described,
    spatial_scale: float,
    execution: Execution,
    /,
) -> None: ...
def nms(
    keep: Described,
    boxes: Described,
    scores: Described,
    idxs: Described | None,
    iou_threshold: float,
    plus_one: bool,
    execution: Execution,
    /,
) -> int: ...
def padded_nms(
    indices: Described,
    counts: Described,
    boxes: Described,
    scores: Described,
    idxs: Described | None,
    iou_threshold: float,
    score_threshold: float | None,
    execution: Execution,
    /,
) -> None: ...
def soft_nms(
    keep: Described,
    new_scores: Described,
    boxes: Described,
    scores: Described,
    idxs: Described | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    execution: Execution,
    /,
) -> int: ...
def fpn_levels(
    levels: Described,
    boxes: Described,
    min_level: int,
    thresholds: Sequence[float],
    execution: Execution,
    /,
) -> None: ...
def grid_anchors(
    anchors: Described,
    height: int,
    width: int,
    stride_y: float,
    stride_x: float,
    sizes: Sequence[float],
    aspect_ratios: Sequence[float],
    convention: str,
    execution: Execution,
    /,
) -> None: ...
def paste_masks(
    pasted: Described,
    masks: Described,
    boxes: Described,
    threshold: float | None,
    padding: int,
    convention: str,
    execution: Execution,
    /,
) -> None: ...
def paste_masks_rle(
    masks: Described,
    boxes: Described,
    height: int,
    width: int,
    threshold: float,
    padding: int,
    convention: str,
    execution: Execution,
    /,
) -> list[bytes]: ...
def crop_masks(
    cropped: Described, masks: Described, boxes: Described, aligned: bool, execution: Execution, /
) -> None: ...
def rasterize_polygons(
    filled: Described,
    vertices: Described,
    polygons: Described,
    objects: Described,
    boxes: Described,
    execution: Execution,
    /,
) -> None: ...
def encode_boxes(
    deltas: Described,
    reference_boxes: Described,
    proposals: Described,
    weights: Sequence[float],
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def encode_boxes_backward(
    grad_reference_boxes: Described,
    grad_proposals: Described,
    grad_deltas: Described,
    reference_boxes: Described,
    proposals: Described,
    weights: Sequence[float],
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def decode_boxes(
    decoded: Described,
    deltas: Described,
    boxes: Described,
    weights: Sequence[float],
    scale_clamp: float,
    clip_to: Sequence[float] | None,
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def decode_boxes_backward(
    grad_deltas: Described,
    grad_boxes: Described,
    grad_decoded: Described,
    deltas: Described,
    boxes: Described,
    weights: Sequence[float],
    scale_clamp: float,
    clip_to: Sequence[float] | None,
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def clip_boxes(
    clipped: Described, boxes: Described, height: float, width: float, execution: Execution, /
) -> None: ...
def clip_boxes_backward(
    grad_boxes: Described,
    grad_clipped: Described,
    boxes: Described,
    height: float,
    width: float,
    execution: Execution,
    /,
) -> None: ...
def box_iou(
    values: Described,
    boxes1: Described,
    boxes2: Described,
    kind: str,
    eps: float,
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def box_iou_backward(
    grad_boxes1: Described,
    grad_boxes2: Described,
    grad_values: Described,
    boxes1: Described,
    boxes2: Described,
    kind: str,
    eps: float,
    plus_one: bool,
    execution: Execution,
    /,
) -> None: ...
def box_convert(
    converted: Described, boxes: Described, in_fmt: str, out_fmt: str, execution: Execution, /
) -> None: ...
def box_convert_backward(
    grad_boxes: Described,
    grad_converted: Described,
    boxes: Described,
    in_fmt: str,
    out_fmt: str,
    execution: Execution,
    /,
) -> None: ...
def box_area(area: Described, boxes: Described, sized: bool, execution: Execution, /) -> None: ...
def box_area_backward(
    grad_boxes: Described,
    grad_area: Described,
    boxes: Described,
    sized: bool,
    execution: Execution,
    /,
) -> None: ...
def remove_small_boxes(
    keep: Described, boxes: Described, min_size: float, execution: Execution, /
) -> int: ...
def masks_to_boxes(boxes: Described, masks: Described, execution: Execution, /) -> None: ...
def match_boxes(
    matched_idxs: Described,
    labels: Described,
    ious: Described,
    targets: Sequence[Described],
    boxes: Sequence[Described],
    high: float,
    low: float,
    allow_low_quality: bool,
    execution: Execution,
    /,
) -> None: ...
def keypoints_to_heatmap(
    cells: Described,
    valid: Described,
    keypoints: Described,
    boxes: Described,
    size: int,
    execution: Execution,
    /,
) -> None: ...
def heatmaps_to_keypoints(
    keypoints: Described, heatmaps: Described, boxes: Described, execution: Execution, /
) -> None: ...
