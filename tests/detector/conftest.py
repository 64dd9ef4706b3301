"""Small data sets for the detector's tests: real ones, and ones written on the spot."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detector.data import CocoDataset

# The models here are small: a second thread gains little, and waits for cores that others use.
torch.set_num_threads(1)

DATA = Path(__file__).parents[1] / "data"
"""Real images with annotations; see the README in each folder."""

SQUARE = {
    "id": 11,
    "image_id": 1,
    "category_id": 7,
    "iscrowd": 0,
    "bbox": [4, 6, 10, 8],
    "area": 80,
    "segmentation": [[4, 6, 14, 6, 14, 14, 4, 14]],
}
"""A rectangle of 10 x 8 pixels in image 1 of `make_dataset`."""


@pytest.fixture
def coco_data() -> Path:
    """Photographs of COCO: polygons, crowd regions, sparse category ids."""
    return DATA / "coco"


@pytest.fixture
def fruits_data() -> Path:
    """Photographs with a few large objects of three classes."""
    return DATA / "fruits"


@pytest.fixture
def square() -> dict[str, Any]:
    return copy.deepcopy(SQUARE)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., CocoDataset]:
    """Writes images of 32 x 24 (width x height) pixels, ids 1, 2, ..., and annotations."""

    def make(annotations: list[Any] | None = None, count: int = 1, **document: Any) -> CocoDataset:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        entries = []
        for number in range(1, count + 1):
            name = f"{number:03}.png"
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / name)
            entries.append({"id": number, "file_name": name, "height": 24, "width": 32})
        content = {
            "images": entries,
            "annotations": [SQUARE] if annotations is None else annotations,
            "categories": [{"id": 9, "name": "fig"}, {"id": 7, "name": "date"}],
        } | document
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content))
        return CocoDataset(folder, path)

    return make
