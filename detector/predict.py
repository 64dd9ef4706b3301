"""Detections on images that nobody has annotated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from detector.config import InputConfig
from detector.data.coco import Category
from detector.data.errors import DataError
from detector.data.images import read_image
from detector.data.transforms import prepare
from detector.results import ImageDetections, in_image, object_area, to_coco
from detector.visualize import draw


@dataclass
class Predictions:
    """What was written, what was found, and what could not be read or written."""

    pictures: list[Path] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    """Detections per picture."""
    failed: list[DataError] = field(default_factory=list)
    """Each names its file."""


def detect(
    model: nn.Module,
    image: np.ndarray,
    config: InputConfig,
    device: torch.device | str,
    score_threshold: float = 0.5,
) -> ImageDetections:
    """The model's detections on an image, uint8 (H, W, 3), of at least this score."""
    was_training = model.training
    model.eval()
    tensor = prepare(image, config)
    with torch.no_grad():
        (detections,) = model([tensor.to(device)])
    model.train(was_training)
    input_size = (tensor.shape[-2], tensor.shape[-1])
    return in_image(detections, input_size, (image.shape[0], image.shape[1]), score_threshold)


def predict(
    model: nn.Module,
    paths: Iterable[Path | str],
    out_dir: Path,
    config: InputConfig,
    categories: Sequence[Category],
    device: torch.device | str,
    *,
    score_threshold: float = 0.5,
    json_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Writes an annotated picture, `<name>.detections.jpg`, for every image file and folder given.

    Images are turned upright as their EXIF tag says. An image that cannot be read, or whose picture
    cannot be written, does not stop the others. json_path: all detections are written there in
    COCO's instance format (images, categories, and annotations with a score). progress: called with
    images done and their total.

    Raises: DataError when a path does not exist or a folder holds no image.
    """
    files = find_images(paths)
    out_dir.mkdir(parents=True, exist_ok=True)
    predictions = Predictions()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, file in enumerate(files, start=1):
        try:
            image = read_image(file, apply_orientation=True)
        except DataError as error:
            predictions.failed.append(error)
        else:
            found = detect(model, image, config, device, score_threshold)
            target = _free_name(out_dir, file.stem, predictions.pictures)
            try:
                draw(image, found, categories).save(target, quality=92)
            except OSError as error:  # a JPEG has at most 65 535 pixels a side
                target.unlink(missing_ok=True)
                predictions.failed.append(
                    DataError(f"{file}: its picture cannot be written ({error})")
                )
            else:
                predictions.pictures.append(target)
                predictions.objects.append(len(found["labels"]))
            images.append(
                {
                    "id": number,
                    "file_name": str(file),
                    "height": image.shape[0],
                    "width": image.shape[1],
                }
            )
            for entry in to_coco(found, number, categories):
                area = object_area(entry)
                entry |= {"id": len(annotations) + 1, "area": area, "iscrowd": 0}
                annotations.append(entry)
        if progress is not None:
            progress(number, len(files))
    if json_path is not None:
        document = {
            "images": images,
            "categories": [{"id": c.id, "name": c.name} for c in categories],
            "annotations": annotations,
        }
        json_path.write_text(json.dumps(document))
    return predictions


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """The files given, and the image files directly in the folders given, by name.

    Raises: DataError when a path does not exist or a folder holds no image.
    """
    suffixes = {
        suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN
    }
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(
                f for f in path.iterdir() if f.suffix.lower() in suffixes and f.is_file()
            )
            if not found:
                raise DataError(f"{path}: no image file in this folder")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    return files


def _free_name(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """Files of the same name from two folders must not overwrite each other."""
    name, number = folder / f"{stem}.detections.jpg", 1
    while name in taken:
        number += 1
        name = folder / f"{stem}-{number}.detections.jpg"
    return name
