"""Average precision as COCO defines it, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table
from torch import nn

from detector.config import Config
from detector.data.coco import CocoDataset, to_rle
from detector.data.loader import evaluation_images
from detector.results import in_image, to_coco

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""In the order in which COCOeval states them."""
KINDS = ("bbox", "segm")
"""COCO's names of what is compared: boxes, masks."""
Metrics = dict[str, dict[str, float]]


def evaluate(
    model: nn.Module,
    dataset: CocoDataset,
    config: Config,
    device: torch.device | str,
    json_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Runs the model on all images of the data set and measures its boxes and, if any, its masks.

    json_path: the predictions are written there as COCO results. progress: called after every
    image with the number of images done and their total.

    Returns: {"bbox": {...}, "segm": {...}}, the latter of a model with masks, each with AP, AP50,
    AP75, APs, APm, APl in percent; -1 where the data set has no object of that size.
    Raises: DataError when an image cannot be read.
    """
    results = predict_dataset(model, dataset, config, device, progress)
    if json_path is not None:
        json_path.write_text(json.dumps(results))
    return average_precision(dataset, results, KINDS if config.model.masks else KINDS[:1])


def predict_dataset(
    model: nn.Module,
    dataset: CocoDataset,
    config: Config,
    device: torch.device | str,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The model's predictions on all images, as entries of COCO's results format."""
    was_training = model.training
    model.eval()
    results: list[dict[str, Any]] = []
    images = evaluation_images(dataset, config, config.train.workers)
    try:
        for done, (image, image_size, image_id) in enumerate(images, start=1):
            with torch.no_grad():
                (detections,) = model([image.to(device)])
            input_size = (image.shape[-2], image.shape[-1])
            found = in_image(detections, input_size, image_size)
            results += to_coco(found, image_id, dataset.categories)
            if progress is not None:
                progress(done, len(dataset))
    finally:
        model.train(was_training)
    return results


def average_precision(
    dataset: CocoDataset, results: list[dict[str, Any]], kinds: Sequence[str] = KINDS
) -> Metrics:
    """Measures entries of COCO's results format against the annotations; see `evaluate`."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _coco(dataset, _truth(dataset))
        return {
            kind: _measure(truth, _coco(dataset, _with_area(results, kind)), kind) for kind in kinds
        }


def print_table(metrics: Metrics, console: Console | None = None) -> None:
    """Prints boxes and masks as rows, the metrics as columns; a dash where nothing is measured."""
    table = Table(title="Average precision (COCO), %", title_justify="left")
    table.add_column("")
    for heading in ("AP", "AP50", "AP75", "small", "medium", "large"):
        table.add_column(heading, justify="right", style="bold" if heading == "AP" else "")
    for kind, name in zip(KINDS, ("boxes", "masks"), strict=True):
        if kind not in metrics:
            continue
        values = [metrics[kind][metric] for metric in METRICS]
        table.add_row(name, *("\N{EN DASH}" if value < 0 else f"{value:.1f}" for value in values))
    (console or Console()).print(table)


def _truth(dataset: CocoDataset) -> list[dict[str, Any]]:
    """The annotations as COCOeval needs them: it takes an id of 0 for "no match"."""
    truth: list[dict[str, Any]] = []
    for image in dataset.images:
        for annotation in dataset.annotations_of(image["id"]):
            if annotation.get("category_id") not in dataset.labels:
                continue
            rle = to_rle(annotation, image["height"], image["width"])
            area = annotation.get("area")
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image["id"],
                    "category_id": annotation["category_id"],
                    "bbox": annotation["bbox"],
                    "segmentation": rle,
                    "area": float(coco_mask.area(rle)) if area is None else area,
                    "iscrowd": int(annotation.get("iscrowd", 0)),
                }
            )
    return truth


def _with_area(results: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Results completed as annotations. An object's size is that of what is compared."""
    return [
        {
            **result,
            "id": number,
            "iscrowd": 0,
            "area": result["bbox"][2] * result["bbox"][3]
            if kind == "bbox"
            else float(coco_mask.area(result["segmentation"])),
        }
        for number, result in enumerate(results, start=1)
    ]


def _coco(dataset: CocoDataset, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": dataset.images,
        "categories": [{"id": c.id, "name": c.name} for c in dataset.categories],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _measure(truth: COCO, found: COCO, kind: str) -> dict[str, float]:
    evaluation = COCOeval(truth, found, iouType=kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    percents = (float(value) * 100 if value >= 0 else -1.0 for value in evaluation.stats)
    return dict(zip(METRICS, percents, strict=False))
