"""Detections of the network brought back into the image they were made on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor

import roiops
from detector.data.coco import Category

MASK_BUDGET = 1 << 27
"""Pixels of full-size masks held at a time: a hundred objects in a photograph would take a
gigabyte."""


class ImageDetections(TypedDict):
    """D objects in an image: what is drawn, evaluated and written to files."""

    boxes: np.ndarray
    """float32 (D, 4): x1, y1, x2, y2 in pixels of the image."""
    labels: np.ndarray
    """int64 (D,): 1..K."""
    scores: np.ndarray
    """float32 (D,)."""
    masks: NotRequired[list[dict[str, Any]]]
    """D masks of the image's size as compressed RLE of pycocotools, `counts` as bytes."""
    keypoints: NotRequired[np.ndarray]
    """float32 (D, P, 3): x, y in pixels of the image, and the head's logit there."""


def in_image(
    detections: dict[str, Tensor],
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    score_threshold: float = 0.0,
) -> ImageDetections:
    """Scales boxes and keypoints from the network's input to the image and pastes the masks there.

    detections: of `MaskRCNN.forward`: boxes (D, 4) in pixels of an input of `input_size`, labels
    (D,), scores (D,), and where the model has the heads for it masks (D, M, M), probabilities
    within the boxes, and keypoints (D, P, 3). Sizes are (height, width).
    """
    found = {key: value.detach().cpu() for key, value in detections.items()}
    keep = found["scores"] >= score_threshold
    found = {key: value[keep] for key, value in found.items()}
    ratio_y, ratio_x = (image / input for image, input in zip(image_size, input_size, strict=True))
    boxes = found["boxes"] * found["boxes"].new_tensor([ratio_x, ratio_y, ratio_x, ratio_y])
    result: ImageDetections = {
        "boxes": boxes.numpy(),
        "labels": found["labels"].numpy(),
        "scores": found["scores"].numpy(),
    }
    if "masks" in found:
        result["masks"] = _paste(found["masks"], boxes, image_size)
    if "keypoints" in found:
        result["keypoints"] = (found["keypoints"] * boxes.new_tensor([ratio_x, ratio_y, 1])).numpy()
    return result


def _paste(masks: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Run lengths of probabilities (D, M, M) pasted into boxes (D, 4) of the image."""
    step = max(MASK_BUDGET // (image_size[0] * image_size[1]), 1)
    rles: list[dict[str, Any]] = []
    for start in range(0, len(boxes), step):
        chosen = slice(start, start + step)
        # torchvision's rule rounds boxes outwards to whole pixels: for objects of ten pixels even
        # perfect masks then overlap the annotated ones by little more than 0.8.
        pasted = roiops.paste_masks(
            masks[chosen], boxes[chosen], image_size, convention="detectron2"
        )
        rles += encode_masks(pasted.numpy())
    return rles


def encode_masks(masks: np.ndarray) -> list[dict[str, Any]]:
    """bool or 0/1 (N, H, W) to RLE of pycocotools."""
    # pycocotools wants (H, W, N) in Fortran's order: in memory, N times W times H.
    in_memory = np.ascontiguousarray(masks.transpose(0, 2, 1)).view(np.uint8)
    return coco_mask.encode(in_memory.transpose(2, 1, 0)) if len(masks) else []


def to_coco(
    detections: ImageDetections, image_id: int, categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """Entries of COCO's results format, ready for JSON, with the data set's own category ids.

    Keypoints get a visibility of 1: the head places every one of them.
    """
    entries: list[dict[str, Any]] = []
    for index, (x1, y1, x2, y2) in enumerate(detections["boxes"]):
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": categories[int(detections["labels"][index]) - 1].id,
            "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": float(detections["scores"][index]),
        }
        if "masks" in detections:
            rle = detections["masks"][index]
            entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
        if "keypoints" in detections:
            entry["keypoints"] = [
                float(v) for x, y, _ in detections["keypoints"][index] for v in (x, y, 1)
            ]
        entries.append(entry)
    return entries


def object_area(entry: dict[str, Any]) -> float:
    """Pixels of the mask of an entry of `to_coco`, or of its box where it has no mask."""
    if "segmentation" in entry:
        return int(coco_mask.area(entry["segmentation"]))
    return entry["bbox"][2] * entry["bbox"][3]
