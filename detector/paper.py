"""A named configuration for every row of the paper's tables, with what the paper expects of it.

The paper is He et al., "Mask R-CNN" (2017, arXiv:1703.06870v3). `paper_rows.json` holds its
figures, this file how each row differs from a base. What the paper leaves unsaid follows Detectron,
by whose authors it is, and is said where it is decided; `conventions.py` has the choices of other
implementations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.config import Config, update
from detector.conventions import apply_convention

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class PaperRow:
    """One row of a table: how to train it, and what the paper measured."""

    table: str
    """"2a" and so on; "text 4.2" is a figure in the text of that section."""
    row: str
    config: Config
    expected: Changes
    """Figures in percent under the paper's names, and the data they were measured on."""
    not_yet: tuple[str, ...] = ()
    """What the paper did for this row that cannot be done here yet."""

    def summary(self) -> str:
        """Split and figures in one line."""
        figures = [
            f"{kind} " + " ".join(f"{name} {value}" for name, value in values.items())
            if isinstance(values, Mapping)
            else f"{kind} {values}"
            for kind, values in self.expected.items()
            if kind != "split" and values is not None
        ]
        return f"{self.expected['split']}: {', '.join(figures)}"


STAGE_WISE = "an RPN trained by itself first: it is trained jointly, as in the row e2e of table 8"
KEYPOINT_DATA = "annotated keypoints: they are not read from files"
PERSONS = "persons alone: objects of other categories are not left out"
CITYSCAPES = "Cityscapes' own files and metric: only COCO's format is read"
TEST_TIME = "test-time augmentation"

MODEL = "model"
R101: Changes = {MODEL: {"backbone": {"blocks": [3, 4, 23, 3]}}}
X101: Changes = {
    # 64x4d: the paper does not say which ResNeXt-101; Detectron published this and 32x8d.
    MODEL: {
        "backbone": {
            "blocks": [3, 4, 23, 3],
            "groups": 64,
            "group_width": 4,
            "stride_in": "3x3",
        }
    },
    # One image for each of 8 GPUs, and half the learning rate for as many iterations.
    "train": {"batch_size": 8, "learning_rate": 0.01},
}
X152: Changes = {
    MODEL: {"backbone": {"blocks": [3, 8, 36, 3], "groups": 32, "group_width": 8}},
}
NON_LOCAL: Changes = {MODEL: {"backbone": {"non_local": True}}}
ONE_LEVEL: Changes = {"anchors": {"sizes": [[32, 64, 128, 256, 512]]}}
C4: Changes = {
    MODEL: {
        **ONE_LEVEL,
        "features": "c4",
        # Regions of 7x7 cells, which res5 keeps: Figure 4, left.
        "backbone": {"res5_stride": 1},
        "box_head": {"fc": [], "pool_size": 7},
        "mask_head": {"convs": [], "pool_size": 7},
    }
}
C5: Changes = {MODEL: {**ONE_LEVEL, "features": "c5"}}
BOXES_ALONE: Changes = {MODEL: {"masks": False}}
POOL: Changes = {MODEL: {"pooling": {"operator": "roi_pool", "reduction": "max"}}}
SCALES = [640, 672, 704, 736, 768, 800]
"""[640, 800], as six lengths: Detectron's, the paper names the ends."""
KEYPOINTS: Changes = {
    "input": {"short_edge": SCALES},
    MODEL: {"masks": False, "keypoints": True, "box_head": {"nms_threshold": 0.5}},
    "train": {"iterations": 90000, "steps": [60000, 80000]},
}
PERSON_BOXES: Changes = {MODEL: {"keypoints": False}}
PERSON_MASKS: Changes = {MODEL: {"masks": True, "keypoints": False}}
KEYPOINTS_AND_MASKS: Changes = {MODEL: {"masks": True}}
CITY: Changes = {
    "input": {"short_edge": [800, 832, 864, 896, 928, 960, 992, 1024], "max_edge": 2048},
    "train": {
        "batch_size": 8,
        "learning_rate": 0.01,
        "iterations": 24000,
        "steps": [18000],
    },
}
LONGER: Changes = {
    MODEL: {"box_head": {"nms_threshold": 0.5}},
    "train": {"iterations": 180000, "steps": [120000, 160000]},
}
SCALE_JITTER: Changes = {
    "input": {"short_edge": SCALES},
    "train": {"iterations": 260000, "steps": [200000, 240000]},
}
LONGER_KEYPOINTS: Changes = {"train": {"iterations": 130000, "steps": [100000, 120000]}}
SCHEDULE: Changes = {
    "train": {
        "iterations": 160000,
        "steps": [120000],
        # How the rate begins is unsaid.
        "warmup_iterations": 500,
        "warmup_factor": 1 / 3,
    }
}


def _head(**changes: Any) -> Changes:
    return {MODEL: {"mask_head": changes}}


def _pooling(operator: str, reduction: str) -> Changes:
    return {MODEL: {"pooling": {"operator": operator, "reduction": reduction}}}


_IMPROVED = (X101, LONGER)
_ENLARGED = (*_IMPROVED, SCALE_JITTER, X152)
_KEYPOINT_NOTES = (STAGE_WISE, KEYPOINT_DATA)
_DESCRIPTIONS: tuple[tuple[str, str, str, tuple[Changes, ...], tuple[str, ...]], ...] = (
    ("table1_r101_c4", "1", "R101-C4", (C4, R101), (STAGE_WISE,)),
    ("table1_r101_fpn", "1", "R101-FPN", (R101,), (STAGE_WISE,)),
    ("table1_x101_fpn", "1", "X101-FPN", (X101,), (STAGE_WISE,)),
    ("table2a_r50_c4", "2a", "R50-C4", (C4,), (STAGE_WISE,)),
    ("table2a_r101_c4", "2a", "R101-C4", (C4, R101), (STAGE_WISE,)),
    ("table2a_r50_fpn", "2a", "R50-FPN", (), (STAGE_WISE,)),
    ("table2a_r101_fpn", "2a", "R101-FPN", (R101,), (STAGE_WISE,)),
    ("table2a_x101_fpn", "2a", "X101-FPN", (X101,), (STAGE_WISE,)),
    ("table2b_softmax", "2b", "softmax", (C4, _head(loss="softmax")), (STAGE_WISE,)),
    ("table2b_sigmoid", "2b", "sigmoid", (C4,), (STAGE_WISE,)),
    (
        "text_class_agnostic",
        "text 4.2",
        "class-agnostic R50-C4",
        (C4, _head(class_specific=False)),
        (STAGE_WISE,),
    ),
    ("table2c_roi_pool", "2c", "RoIPool max", (C4, POOL), (STAGE_WISE,)),
    ("table2c_roi_warp_max", "2c", "RoIWarp max", (C4, _pooling("roi_warp", "max")), (STAGE_WISE,)),
    (
        "table2c_roi_warp_mean",
        "2c",
        "RoIWarp ave",
        (C4, _pooling("roi_warp", "mean")),
        (STAGE_WISE,),
    ),
    (
        "table2c_roi_align_max",
        "2c",
        "RoIAlign max",
        (C4, _pooling("roi_align", "max")),
        (STAGE_WISE,),
    ),
    ("table2c_roi_align_mean", "2c", "RoIAlign ave", (C4,), (STAGE_WISE,)),
    ("table2d_roi_pool", "2d", "R50-C5 RoIPool", (C5, POOL), (STAGE_WISE,)),
    ("table2d_roi_align", "2d", "R50-C5 RoIAlign", (C5,), (STAGE_WISE,)),
    (
        "table2e_mlp_2",
        "2e",
        "MLP 1024-1024-80*28^2",
        (_head(convs=[], fc=[1024, 1024]),),
        (STAGE_WISE,),
    ),
    (
        "table2e_mlp_3",
        "2e",
        "MLP 1024-1024-1024-80*28^2",
        (_head(convs=[], fc=[1024, 1024, 1024]),),
        (STAGE_WISE,),
    ),
    ("table2e_fcn", "2e", "FCN", (), (STAGE_WISE,)),
    ("text_roi_pool_fpn", "text 4.2", "RoIPool R50-FPN", (POOL,), (STAGE_WISE,)),
    (
        "table3_faster_r101_fpn",
        "3",
        "Faster R-CNN, RoIAlign R101-FPN",
        (R101, BOXES_ALONE),
        (STAGE_WISE,),
    ),
    ("table3_mask_r101_fpn", "3", "Mask R101-FPN", (R101,), (STAGE_WISE,)),
    ("table3_mask_x101_fpn", "3", "Mask X101-FPN", (X101,), (STAGE_WISE,)),
    (
        "text_4_step_r101_fpn",
        "text 4.4",
        "4-step R101-FPN",
        (R101,),
        ("training in 4 steps, after which RPN and heads share features",),
    ),
    ("table4_keypoint", "4", "keypoint-only", (KEYPOINTS,), _KEYPOINT_NOTES),
    (
        "table4_keypoint_mask",
        "4",
        "keypoint & mask",
        (KEYPOINTS, KEYPOINTS_AND_MASKS),
        _KEYPOINT_NOTES,
    ),
    ("table5_faster", "5", "Faster R-CNN", (KEYPOINTS, PERSON_BOXES), (STAGE_WISE, PERSONS)),
    ("table5_mask", "5", "mask-only", (KEYPOINTS, PERSON_MASKS), (STAGE_WISE, PERSONS)),
    ("table5_keypoint", "5", "keypoint-only", (KEYPOINTS,), _KEYPOINT_NOTES),
    (
        "table5_keypoint_mask",
        "5",
        "keypoint & mask",
        (KEYPOINTS, KEYPOINTS_AND_MASKS),
        _KEYPOINT_NOTES,
    ),
    ("table6_roi_pool", "6", "RoIPool", (KEYPOINTS, POOL), _KEYPOINT_NOTES),
    ("table6_roi_align", "6", "RoIAlign", (KEYPOINTS,), _KEYPOINT_NOTES),
    ("table7_fine", "7", "fine", (CITY,), (STAGE_WISE, CITYSCAPES)),
    (
        "table7_fine_coco",
        "7",
        "fine+COCO",
        (CITY, {"train": {"iterations": 4000, "steps": [3000]}}),
        (STAGE_WISE, CITYSCAPES, "rows of COCO's classes that Cityscapes shares, taken over"),
    ),
    ("table8_original", "8", "original X101-FPN", (X101,), (STAGE_WISE,)),
    ("table8_updated", "8", "updated baseline", _IMPROVED, (STAGE_WISE,)),
    ("table8_e2e", "8", "e2e", _IMPROVED, ()),
    (
        "table8_imagenet_5k",
        "8",
        "ImageNet-5k",
        _IMPROVED,
        ("weights trained on ImageNet-5k, which are Detectron's to publish: convert, then --init",),
    ),
    ("table8_train_aug", "8", "train aug", (*_IMPROVED, SCALE_JITTER), ()),
    ("table8_x152", "8", "X152", _ENLARGED, ()),
    ("table8_x152_non_local", "8", "X152-NL", (*_ENLARGED, NON_LOCAL), ()),
    (
        "table8_x152_non_local_tta",
        "8",
        "X152-NL TTA",
        (*_ENLARGED, NON_LOCAL),
        (TEST_TIME,),
    ),
    ("table9_original", "9", "original R50", (KEYPOINTS,), _KEYPOINT_NOTES),
    ("table9_updated", "9", "updated R50", (KEYPOINTS, LONGER_KEYPOINTS), _KEYPOINT_NOTES),
    ("table9_r101", "9", "R101", (KEYPOINTS, LONGER_KEYPOINTS, R101), _KEYPOINT_NOTES),
    ("table9_x101", "9", "X101", (KEYPOINTS, LONGER_KEYPOINTS, X101), _KEYPOINT_NOTES),
    (
        "table9_x101_distilled",
        "9",
        "X101 data distillation",
        (KEYPOINTS, LONGER_KEYPOINTS, X101),
        (*_KEYPOINT_NOTES, "labels made by the model itself on unlabelled images"),
    ),
    (
        "table9_x101_distilled_tta",
        "9",
        "X101 DD + TTA",
        (KEYPOINTS, LONGER_KEYPOINTS, X101),
        (*_KEYPOINT_NOTES, "labels made by the model itself on unlabelled images", TEST_TIME),
    ),
)


def _rows() -> dict[str, PaperRow]:
    text = (Path(__file__).parent / "paper_rows.json").read_text(encoding="utf-8")
    figures = {(entry.pop("table"), entry.pop("row")): entry for entry in json.loads(text)}
    rows = {}
    for name, table, row, changes, not_yet in _DESCRIPTIONS:
        structure = Config()
        for change in (SCHEDULE, *changes):
            structure = update(structure, change)
        # The convention depends on the structure; what the row itself says wins over it.
        config = apply_convention(structure, "paper")
        for change in changes:
            config = update(config, change)
        rows[name] = PaperRow(table, row, config, figures[table, row], not_yet)
    return rows


PAPER = _rows()
"""By the names under which the configurations are to be had."""
