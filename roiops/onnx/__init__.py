"""ONNX: how torch's exporter writes each operator. docs/onnx.md is the guide.

``translation_table()`` goes into ``torch.onnx.export(..., custom_translation_table=)``. Imports
nothing by itself: torch and onnxscript are needed where the table is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["UNSUPPORTED", "translation_table"]

_TRAINING = "it is for training"
_GRADIENT = "it is a gradient"

UNSUPPORTED = {
    "box_area_backward": _GRADIENT,
    "box_convert_backward": _GRADIENT,
    "box_iou_backward": _GRADIENT,
    "clip_boxes_to_image_backward": _GRADIENT,
    "crop_masks": _TRAINING,
    "decode_boxes_backward": _GRADIENT,
    "encode_boxes": _TRAINING,
    "encode_boxes_backward": _GRADIENT,
    "keypoints_to_heatmap": _TRAINING,
    "masks_to_boxes": "no detector needs it at inference; call it on the exported model's masks",
    "match_boxes": _TRAINING,
    "paste_masks_rle": "the lengths of its runs differ; export paste_masks",
    "rasterize_polygons": _TRAINING,
    "roi_align_directional": _GRADIENT,
    "roi_align_grad_input": _GRADIENT,
    "roi_align_grad_rois": _GRADIENT,
    "roi_pool_directional": _GRADIENT,
    "roi_pool_grad_input": _GRADIENT,
    "soft_nms": "ONNX has no operator that lowers scores step by step; export nms",
}
"""Operators that are not exported, and why. With them an export ends in an error that says so."""


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """How ``torch.onnx.export(..., dynamo=True, custom_translation_table=...)`` is to write the
    operators of ``torch.ops.roiops``: some as one ONNX operator, the others as several.

    Raises:
        ImportError: torch, onnx or onnxscript is missing: ``pip install 'roiops[onnx]'``.

    >>> import torch, roiops
    >>> program = torch.onnx.export(
    ...     roiops.RoIPool(2, spatial_scale=0.5).eval(),
    ...     (torch.zeros(1, 3, 8, 8), torch.zeros(1, 5)),
    ...     dynamo=True,
    ...     verbose=False,
    ...     custom_translation_table=roiops.onnx.translation_table(),
    ... )
    >>> [node.op_type for node in program.model.graph]
    ['MaxRoiPool']
    """
    try:
        import onnxscript  # noqa: F401
        import torch

        from roiops import _torch  # noqa: F401  registers the operators
        from roiops.onnx import boxes, keypoints, masks, pooling, suppression
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "onnxscript"):
            raise
        raise ImportError(
            f"roiops.onnx.translation_table: it needs {error.name} (pip install 'roiops[onnx]')"
        ) from error
    functions = {name: _refusal(name, reason) for name, reason in UNSUPPORTED.items()}
    for kind in (boxes, keypoints, masks, pooling, suppression):
        functions |= kind.TRANSLATIONS
    return {getattr(torch.ops.roiops, name).default: call for name, call in functions.items()}


def _refusal(name: str, reason: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise NotImplementedError(f"{name}: it cannot be exported to ONNX: {reason}")

    return refuse
