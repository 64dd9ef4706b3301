"""Named configurations, and reading one by name or from a YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from detector.config import (
    AnchorConfig,
    AugmentConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    ConfigError,
    FpnConfig,
    InputConfig,
    MaskHeadConfig,
    ModelConfig,
    PoolingConfig,
    RpnConfig,
    TrainConfig,
    parse_overrides,
    update,
)
from detector.conventions import apply_convention
from detector.paper import PAPER

MASK_RCNN_R50_FPN_1X = Config()
"""ResNet-50-FPN trained for 90 000 iterations of 16 images. The backbone's batch norm is frozen,
so it wants pretrained weights (`--init`)."""

FASTER_RCNN_R50_FPN_1X = replace(
    MASK_RCNN_R50_FPN_1X, model=replace(MASK_RCNN_R50_FPN_1X.model, masks=False)
)
"""The same without a mask head."""

KEYPOINT_RCNN_R50_FPN = Config(
    input=InputConfig(short_edge=(640, 672, 704, 736, 768, 800)),
    model=ModelConfig(masks=False, keypoints=True),
)
"""Keypoints of persons instead of masks: torchvision's keypointrcnn_resnet50_fpn."""

MASK_RCNN_R50_FPN_V2 = Config(
    model=ModelConfig(
        backbone=BackboneConfig(norm="bn", frozen_stages=0),
        fpn=FpnConfig(norm="bn"),
        rpn=RpnConfig(convs=2),
        box_head=BoxHeadConfig(convs=(256,) * 4, norm="bn", fc=(1024,)),
        mask_head=MaskHeadConfig(norm="bn"),
    )
)
"""torchvision's maskrcnn_resnet50_fpn_v2: trained norms everywhere, deeper heads."""

FASTER_RCNN_R50_FPN_V2 = replace(
    MASK_RCNN_R50_FPN_V2, model=replace(MASK_RCNN_R50_FPN_V2.model, masks=False)
)
"""torchvision's fasterrcnn_resnet50_fpn_v2."""

NUCLEI_DEMO = Config(
    data="nuclei",
    input=InputConfig(
        channels="grey_stretched", mean=(0.25,), std=(0.25,), short_edge=None, scale=2.0
    ),
    augment=AugmentConfig(
        vertical_flip=True,
        rotate90=True,
        scale_jitter=1.4,
        crop=256,
        gamma=1.3,
        brightness=0.1,
        noise=0.02,
    ),
    model=ModelConfig(
        backbone=BackboneConfig(
            stem="convs",
            stem_channels=(24, 32),
            block="basic",
            blocks=(2, 2, 2, 2),
            channels=(32, 64, 96, 128),
            norm="bn",
            frozen_stages=0,
        ),
        fpn=FpnConfig(channels=32),
        # The top level is for the largest nuclei: without it they are found in halves.
        anchors=AnchorConfig(sizes=((16,), (32,), (64,), (128,), (256,))),
        rpn=RpnConfig(
            train_pre_nms_top_n=500,
            train_post_nms_top_n=200,
            test_pre_nms_top_n=500,
            test_post_nms_top_n=300,
        ),
        pooling=PoolingConfig(canonical_scale=96),
        box_head=BoxHeadConfig(
            fc=(128,),
            rois_per_image=80,
            positive_fraction=0.3,
            # Nuclei hardly overlap: what does is a half of one, found beside the whole.
            nms_threshold=0.3,
        ),
        mask_head=MaskHeadConfig(pool_size=10, convs=(32, 32), deconv=32),
    ),
    train=TrainConfig(
        iterations=1000,
        batch_size=2,
        optimizer="adamw",
        learning_rate=1.5e-3,
        weight_decay=0.05,
        decay_vectors=False,
        schedule="cosine",
        final_factor=0.02,
        warmup_iterations=50,
        clip_norm=5.0,
        workers=1,
        threads=1,  # so small a network gains little from a second one, and loses much to waiting
        checkpoint_every=200,
    ),
)
"""Cell nuclei from scratch in three minutes on two cores: many small objects of one class."""

PHOTOS_SMALL = replace(
    NUCLEI_DEMO,
    data="",
    input=InputConfig(short_edge=(320,), max_edge=512),
    augment=AugmentConfig(scale_jitter=1.25, gamma=1.2, brightness=0.2),
    model=replace(
        NUCLEI_DEMO.model, box_head=replace(NUCLEI_DEMO.model.box_head, nms_threshold=0.5)
    ),
    train=replace(NUCLEI_DEMO.train, iterations=2000, batch_size=4),
)
"""Colour photographs with the small network: a start for one's own data without a GPU."""

PRESETS = {
    "mask_rcnn_r50_fpn_1x": MASK_RCNN_R50_FPN_1X,
    "mask_rcnn_r50_fpn_v2": MASK_RCNN_R50_FPN_V2,
    "faster_rcnn_r50_fpn_1x": FASTER_RCNN_R50_FPN_1X,
    "faster_rcnn_r50_fpn_v2": FASTER_RCNN_R50_FPN_V2,
    "keypoint_rcnn_r50_fpn": KEYPOINT_RCNN_R50_FPN,
    "nuclei_demo": NUCLEI_DEMO,
    "photos_small": PHOTOS_SMALL,
    **{name: row.config for name, row in PAPER.items()},
}


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of this name or YAML file, with `key.sub=value` overrides put in.

    A name may be followed by a convention, as in `table2a_r50_fpn:detectron2`: see
    `conventions.py`. A file holds only the keys it changes; its key `base` names the configuration
    it starts from (default: mask_rcnn_r50_fpn_1x, which has the default of every key).
    """
    config = _named(source)
    if config is None and Path(source).is_file():
        mapping = _read(Path(source))
        base = mapping.pop("base", "mask_rcnn_r50_fpn_1x")
        try:
            config = _named(base) if isinstance(base, str) else None
            if config is None:
                raise ConfigError(f"base must be {_names_for(str(base))}; got {base!r}")
            config = update(config, mapping)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
    if config is None:
        raise ConfigError(
            f"configuration must be a YAML file or {_names_for(source)}; got {source!r}"
        )
    return update(config, parse_overrides(overrides))


def _named(source: str) -> Config | None:
    """The configuration of this name, with its convention if one is given; None if it is no name.

    Raises: ConfigError when the convention is unknown.
    """
    name, separator, convention = source.partition(":")
    if name not in PRESETS:
        return None
    return apply_convention(PRESETS[name], convention) if separator else PRESETS[name]


def _names_for(source: str) -> str:
    """Names to choose from: the nearest, where some are near."""
    near = difflib.get_close_matches(source.partition(":")[0], PRESETS, n=4)
    own = [name for name in PRESETS if name not in PAPER]
    listed = near or [*own, "a row of the paper (python -m detector configs list)"]
    return f"one of {', '.join(listed)}"


def reduced(config: Config) -> Config:
    """The same structure with few and narrow layers, few regions and small images.

    To see in seconds on a CPU that a configuration builds, trains and evaluates; it learns nothing
    worth having. Kinds of blocks, heads, norms and operators stay; so does the number of layers in
    a head, for one weight stands for all of its shape.
    """
    model, groups = config.model, min(config.model.backbone.groups, 2)
    few = {f"{mode}_{when}_nms_top_n": 64 for mode in ("train", "test") for when in ("pre", "post")}
    narrow = {
        "backbone": {
            "stem_channels": [8] * len(model.backbone.stem_channels),
            "blocks": [1, 1, 2 if model.backbone.non_local else 1, 1],
            "channels": [16, 24, 32, 48],
            "groups": groups,
            "group_width": None if model.backbone.group_width is None else 4,
        },
        "fpn": {"channels": 16},
        "anchors": {"sizes": [[size / 4 for size in level] for level in model.anchors.sizes]},
        "rpn": {**few, "anchors_per_image": 32},
        "pooling": {"canonical_scale": model.pooling.canonical_scale / 4},
        "box_head": {
            "convs": [16] * len(model.box_head.convs),
            "fc": [32] * len(model.box_head.fc),
            "rois_per_image": 16,
            "max_detections": 10,
        },
        "mask_head": {
            "convs": [16] * len(model.mask_head.convs),
            "deconv": 16,
            "fc": [32] * len(model.mask_head.fc),
        },
        "keypoint_head": {"convs": [16] * len(model.keypoint_head.convs)},
    }
    changes = {
        "input": {} if config.input.short_edge is None else {"short_edge": [64], "max_edge": 128},
        "model": narrow,
        "train": {"batch_size": 2, "iterations": 2, "warmup_iterations": 0, "steps": []},
    }
    return update(config, changes)


def _read(path: Path) -> dict[str, Any]:
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: must hold configuration keys; got {type(mapping).__name__}")
    return mapping
