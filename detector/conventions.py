"""What implementations do differently where the paper is silent, as sets of single keys.

Every key stays a key: a convention sets several at once, whatever they were. `paper` is the text of
the paper, and Detectron's choice where it is silent.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from detector.config import Config, ConfigError, update

Convention = Literal["paper", "detectron", "detectron2", "torchvision"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


def apply_convention(config: Config, name: str) -> Config:
    """`config` with the keys in which implementations differ set as `name` has them.

    Raises: ConfigError for an unknown name.
    """
    if name not in CONVENTIONS:
        raise ConfigError(f"convention must be one of {', '.join(CONVENTIONS)}; got {name!r}")
    aligned = name == "detectron2" and config.model.pooling.operator == "roi_align"
    samples = {"paper": 2, "detectron": 2, "detectron2": 0, "torchvision": 2}[name]
    third = 1 / 9
    changes: dict[str, Any] = {
        "model": {
            "anchors": {"convention": "torchvision" if name == "paper" else name},
            # Samples in a bin and direction; half a cell of offset in detectron2 alone.
            "pooling": {"sampling_ratio": samples, "aligned": aligned},
            "rpn": {
                "train_pre_nms_top_n": 2000,
                "train_post_nms_top_n": 1000 if name == "detectron2" else 2000,
                "test_pre_nms_top_n": 1000,
                "test_post_nms_top_n": 1000,
                "smooth_l1_beta": 0.0 if name == "detectron2" else third,
            },
            "box_head": {
                "rois_per_image": 512,
                "smooth_l1_beta": {
                    "paper": 1.0,
                    "detectron": 1.0,
                    "detectron2": 0.0,
                    "torchvision": third,
                }[name],
                # Appendix B: 0.3 until the updated baseline.
                "nms_threshold": 0.3 if name == "paper" else 0.5,
            },
        },
        "train": {"warmup_iterations": 500, "warmup_factor": 1 / 3}
        if name in ("paper", "detectron")
        else {"warmup_iterations": 1000, "warmup_factor": 0.001},
    }
    if config.model.backbone.block == "bottleneck":
        # The original residual networks stride in the 1x1; torchvision's, and all ResNeXt, do not.
        original = config.model.backbone.groups == 1 and name != "torchvision"
        changes["model"]["backbone"] = {"stride_in": "1x1" if original else "3x3"}
    if config.model.features != "fpn":
        _on_one_level(changes["model"], config, name)
    return update(config, changes)


def _on_one_level(model: dict[str, Any], config: Config, name: str) -> None:
    """What differs without a pyramid. torchvision ships no such model: Detectron's choices."""
    model["rpn"] |= {
        "train_pre_nms_top_n": 12000,
        "train_post_nms_top_n": 2000,
        "test_pre_nms_top_n": 6000,
        "test_post_nms_top_n": 300 if name == "paper" else 1000,
    }
    if config.model.features == "c4":
        if name == "paper":
            model["box_head"]["rois_per_image"] = 64
        else:
            model["pooling"]["sampling_ratio"] = 0
        size = 7 if name == "paper" else 14
        model.setdefault("backbone", {})["res5_stride"] = 1 if name == "paper" else 2
        model["box_head"]["pool_size"] = size
        model["mask_head"] = {"pool_size": size}
