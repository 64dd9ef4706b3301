"""A data set of discs and a model for it, both so small that a training takes seconds."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from detector.config import Config, update
from detector.presets import NUCLEI_DEMO

SIDE = 64

TINY_MODEL = {
    "backbone": {
        "stem_channels": [8, 8],
        "blocks": [1, 1, 1, 1],
        "channels": [8, 8, 16, 16],
    },
    "fpn": {"channels": 16, "extra_levels": 0},
    "anchors": {"sizes": [[8], [16], [32], [64]]},
    "rpn": {"train_pre_nms_top_n": 100, "train_post_nms_top_n": 50, "anchors_per_image": 64},
    "box_head": {"fc": [32], "rois_per_image": 16},
    "mask_head": {"pool_size": 7, "convs": [16], "deconv": 16},
}


def tiny_config(data: Path | str = "", **train: object) -> Config:
    """Colour images at their own scale; no loading processes; `train` sets keys of that section."""
    defaults = {
        "iterations": 4,
        "learning_rate": 2e-3,
        "warmup_iterations": 1,
        "workers": 0,
        "log_every": 2,
        "checkpoint_every": 2,
    }
    return update(
        NUCLEI_DEMO,
        {
            "data": f"coco:{data}" if data else "",
            "input": {"channels": "rgb", "mean": [0.3] * 3, "std": [0.3] * 3, "scale": 1.0},
            "augment": {"crop": None, "scale_jitter": 1.0},
            "model": TINY_MODEL,
            "train": defaults | train,
        },
    )


def write_discs(
    root: Path, *, train: int = 6, val: int = 2, names: tuple[str, ...] = ("dim", "bright")
) -> Path:
    """A folder in COCO's layout: 1 to 3 discs an image, category 10, 20, … by brightness.

    The last training image has no object.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            empty = split == "train" and number == count
            image, found = _discs(rng, 0 if empty else int(rng.integers(1, 4)), len(names))
            name = f"{number}.png"
            Image.fromarray(image).save(root / split / name)
            images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
            for label, mask in found:
                rle = coco_mask.encode(np.asfortranarray(mask))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": 10 * (label + 1),
                        "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                        "area": int(mask.sum()),
                        "iscrowd": 0,
                        "segmentation": rle | {"counts": rle["counts"].decode()},
                    }
                )
        categories = [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(names)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
    return root


def _discs(
    rng: np.random.Generator, count: int, classes: int
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    image = rng.integers(0, 40, (SIDE, SIDE, 3)).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    # Each in a quarter of its own: no disc hides another.
    for quarter in rng.permutation(4)[:count]:
        radius = rng.uniform(7, 13)
        cy, cx = (np.array(divmod(quarter, 2)) + 0.5) * SIDE / 2 + rng.uniform(-3, 3, 2)
        mask = ((y - cy) ** 2 + (x - cx) ** 2 <= radius**2).astype(np.uint8)
        label = int(rng.integers(classes))
        image[mask > 0] = 120 + 100 * label // max(classes - 1, 1)
        found.append((label, mask))
    return image, found
