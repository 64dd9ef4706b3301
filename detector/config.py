"""The whole configuration as typed frozen dataclasses.

A configuration is data only: this module imports nothing of the detector. Types and ranges are
checked by pydantic, contradictions between keys by the `__post_init__` of the class that holds
both, so that a `Config` that exists can be run. Named configurations are in `presets.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Norm = Literal["bn", "frozen_bn", "gn"]
Range = tuple[Positive, Positive]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class InputConfig:
    """How an image becomes the tensor the network sees, in training and at test time alike."""

    channels: Literal["rgb", "grey_stretched"] = "rgb"
    """`grey_stretched`: one channel; grey level, inverted when most of the image is brighter than
    the middle of its range, stretched linearly so that percentiles 1 and 99.8 of the whole image
    (before any crop) become 0 and 1. It makes fluorescence and stained microscopy look alike."""
    mean: tuple[Finite, ...] = (0.485, 0.456, 0.406)
    """Subtracted per channel, from values in 0..1."""
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
    short_edge: tuple[Count, ...] | None = (800,)
    """Training lengths of the shorter side, one drawn per image; the last is used for testing."""
    max_edge: Count = 1333
    """Upper bound of the longer side; wins over `short_edge`. Not applied to `scale`."""
    scale: Positive | None = None
    """A fixed enlargement instead of `short_edge`: objects keep their relation to the pixel."""

    def __post_init__(self) -> None:
        channels = 3 if self.channels == "rgb" else 1
        _require(
            len(self.mean) == len(self.std) == channels,
            f"mean and std must have {channels} value(s) when channels is {self.channels}; "
            f"got {len(self.mean)} and {len(self.std)}",
        )
        _require(
            (self.scale is None) != (self.short_edge is None),
            "exactly one of scale and short_edge must be set; the other must be null",
        )
        _require(self.short_edge != (), "short_edge must hold at least one length")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images. The defaults are those of the paper: mirroring only."""

    flip: bool = True
    """Mirror left-right with probability 1/2."""
    vertical_flip: bool = False
    """Mirror top-bottom with probability 1/2."""
    rotate90: bool = False
    """Rotate by a random multiple of 90 degrees."""
    scale_jitter: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0
    """The image scale is multiplied by a number drawn log-uniformly from [1/jitter, jitter]."""
    crop: Count | None = None
    """Side, in network pixels, of a random square crop (smaller where the image is smaller)."""
    gamma: Positive = 1.0
    """Values in 0..1 are raised to a power drawn log-uniformly from [1/gamma, gamma]."""
    brightness: NonNegative = 0.0
    """Values in 0..1 are multiplied by a number drawn uniformly from [1 - b, 1 + b]."""
    noise: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    """Standard deviation, for values in 0..1, of added normal noise; the deviation itself is drawn
    uniformly from [0, noise] for each image."""

    def __post_init__(self) -> None:
        _require(self.scale_jitter >= 1, f"scale_jitter must be >= 1; got {self.scale_jitter}")
        _require(self.gamma >= 1, f"gamma must be >= 1; got {self.gamma}")
        _require(self.brightness < 1, f"brightness must be < 1; got {self.brightness}")


@dataclass(frozen=True)
class BackboneConfig:
    """A residual network with stages res2..res5 at strides 4, 8, 16, 32."""

    stem: Literal["pool", "convs"] = "pool"
    """`pool`: 7x7 convolution of stride 2, then 3x3 max pooling of stride 2 (He et al. 2016).
    `convs`: two 3x3 convolutions of stride 2, for small images and small budgets."""
    stem_channels: tuple[Count, ...] = (64,)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    blocks: tuple[Count, Count, Count, Count] = (3, 4, 6, 3)
    channels: tuple[Count, Count, Count, Count] = (256, 512, 1024, 2048)
    """Output channels of res2..res5; a bottleneck is a quarter as wide inside (see `groups`)."""
    groups: Count = 1
    """Groups of a bottleneck's 3x3 convolution: ResNeXt's cardinality, 64 in 64x4d."""
    group_width: Count | None = None
    """Channels of a group in res2, 4 in 64x4d; later stages are as many times wider as their
    `channels` are. null: the inner width is a quarter of `channels`."""
    norm: Norm = "frozen_bn"
    stride_in: Literal["1x1", "3x3"] = "3x3"
    """The convolution of a bottleneck that strides: torchvision 3x3, original weights (MSRA) 1x1.
    No weight's shape tells them apart."""
    res5_stride: Literal[1, 2] = 2
    """1 in a C4 model that pools 7x7 cells, so that res5 keeps them (Figure 4, left); 2 where it
    pools 14x14, as Detectron does."""
    non_local: bool = False
    """A non-local block (Wang et al. 2018) before the last residual block of res4, as its authors
    have it for detection; the paper's table 8 does not say where it stands."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    """Stages that are not trained: 0 none, 1 the stem, 2 the stem and res2, ... 5 everything."""

    def __post_init__(self) -> None:
        convs = 1 if self.stem == "pool" else 2
        _require(
            len(self.stem_channels) == convs,
            f"stem_channels must have {convs} value(s) when stem is {self.stem}; "
            f"got {len(self.stem_channels)}",
        )
        _require(
            self.block != "bottleneck" or all(c % 4 == 0 for c in self.channels),
            f"channels must be multiples of 4 when block is bottleneck; got {self.channels}",
        )
        _require(
            self.block == "bottleneck" or (self.groups == 1 and self.group_width is None),
            f"groups must be 1 and group_width null when block is {self.block}; "
            f"got {self.groups} and {self.group_width}",
        )
        _require(
            not self.non_local or self.blocks[2] > 1,
            f"blocks must have 2 or more in res4 when non_local is true; got {self.blocks}",
        )
        _require(
            all(inner % self.groups == 0 for inner in self.inner_channels),
            f"groups must divide the inner widths {self.inner_channels}; got {self.groups}",
        )

    @property
    def inner_channels(self) -> tuple[int, ...]:
        """Channels inside the bottlenecks of res2..res5."""
        if self.group_width is None:
            return tuple(channels // 4 for channels in self.channels)
        width = self.groups * self.group_width
        return tuple(width * channels // self.channels[0] for channels in self.channels)


@dataclass(frozen=True)
class FpnConfig:
    """Feature pyramid (Lin et al. 2017): P2..P5 from res2..res5, then subsampled levels."""

    channels: Count = 256
    norm: Norm | None = None
    """Norm after each convolution, instead of its bias."""
    extra_levels: Size = 1
    """Levels above P5 (P6, ...), each every second cell of the one below; for the RPN only."""


@dataclass(frozen=True)
class AnchorConfig:
    """Anchors of every pyramid level, `roiops.grid_anchors`."""

    sizes: tuple[tuple[Positive, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    aspect_ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    convention: Literal["torchvision", "detectron2", "detectron"] = "torchvision"

    def __post_init__(self) -> None:
        _require(
            len({len(level) for level in self.sizes}) == 1 and len(self.sizes[0]) > 0,
            "sizes must hold the same number of sizes, at least one, for every level: "
            f"one RPN head serves them all; got {self.sizes}",
        )
        _require(len(self.aspect_ratios) > 0, "aspect_ratios must not be empty")


@dataclass(frozen=True)
class RpnConfig:
    """Region proposal network; counts before and after NMS are per image."""

    convs: Count = 1
    train_pre_nms_top_n: Count = 2000
    train_post_nms_top_n: Count = 2000
    test_pre_nms_top_n: Count = 1000
    test_post_nms_top_n: Count = 1000
    nms_threshold: Fraction = 0.7
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    anchors_per_image: Count = 256
    positive_fraction: Fraction = 0.5
    smooth_l1_beta: NonNegative = 1 / 9
    """Where the loss turns from quadratic to linear; 0: linear everywhere."""

    def __post_init__(self) -> None:
        _require(
            self.negative_iou <= self.positive_iou,
            f"negative_iou must not exceed positive_iou; got {self.negative_iou} and "
            f"{self.positive_iou}",
        )


@dataclass(frozen=True)
class PoolingConfig:
    """How regions become cells of features, for all heads alike (Table 2c)."""

    operator: Literal["roi_align", "roi_warp", "roi_pool"] = "roi_align"
    """roi_warp rounds the region to whole feature cells, roi_pool its bins too."""
    reduction: Literal["mean", "max"] = "mean"
    """Of a bin's samples; roi_pool knows the maximum only."""
    sampling_ratio: Size = 2
    """Samples per bin and direction; 0 = as many as the region's size asks for."""
    aligned: bool = False
    canonical_scale: Positive = 224
    """A region of this side is pooled from level `canonical_level`."""
    canonical_level: Count = 4

    def __post_init__(self) -> None:
        _require(
            self.operator != "roi_pool" or self.reduction == "max",
            f"reduction must be max when operator is roi_pool; got {self.reduction}",
        )
        _require(
            self.operator == "roi_align" or not self.aligned,
            f"aligned must be false when operator is {self.operator}; got true",
        )


@dataclass(frozen=True)
class BoxHeadConfig:
    pool_size: Count = 7
    convs: tuple[Count, ...] = ()
    """Widths of 3x3 convolutions before the fully connected layers."""
    norm: Norm | None = None
    """Norm after each convolution, instead of its bias."""
    fc: tuple[Count, ...] = (1024, 1024)
    """Widths of the fully connected layers; none in a C4 model, whose head is res5."""
    positive_iou: Fraction = 0.5
    rois_per_image: Count = 512
    positive_fraction: Fraction = 0.25
    weights: tuple[Positive, Positive, Positive, Positive] = (10.0, 10.0, 5.0, 5.0)
    smooth_l1_beta: NonNegative = 1 / 9
    """Where the loss turns from quadratic to linear; 0: linear everywhere."""
    score_threshold: Fraction = 0.05
    nms_threshold: Fraction = 0.5
    max_detections: Count = 100

    def __post_init__(self) -> None:
        _require(
            self.norm is None or len(self.convs) > 0,
            f"norm must be null when convs is empty; got {self.norm}",
        )


@dataclass(frozen=True)
class MaskHeadConfig:
    pool_size: Count = 14
    convs: tuple[Count, ...] = (256, 256, 256, 256)
    """Widths of the 3x3 convolutions."""
    norm: Norm | None = None
    """Norm after each 3x3 convolution, instead of its bias."""
    deconv: Count = 256
    """Width of the transposed convolution; masks have side 2 * pool_size."""
    class_specific: bool = True
    """A mask for every class; false: one for all of them ("class-agnostic", section 4.2)."""
    fc: tuple[Count, ...] = ()
    """Widths of fully connected layers instead of all convolutions ("MLP", Table 2e)."""
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    """softmax: classes compete for each cell, background being one of them (Table 2b)."""

    def __post_init__(self) -> None:
        _require(
            not self.fc or not self.convs,
            f"convs must be empty when fc is given; got {self.convs}",
        )
        _require(
            self.norm is None or len(self.convs) > 0,
            f"norm must be null when convs is empty; got {self.norm}",
        )
        _require(
            self.loss == "sigmoid" or self.class_specific,
            "class_specific must be true when loss is softmax; got false",
        )


@dataclass(frozen=True)
class KeypointHeadConfig:
    """One heatmap for each keypoint and region, of side 4 * pool_size (section 5)."""

    num_keypoints: Count = 17
    pool_size: Count = 14
    convs: tuple[Count, ...] = (512,) * 8
    """Widths of the 3x3 convolutions."""

    def __post_init__(self) -> None:
        _require(len(self.convs) > 0, "convs must hold at least one layer")


@dataclass(frozen=True)
class ModelConfig:
    num_classes: Count | None = None
    """Object classes without background; null: as many categories as the training data has."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    features: Literal["fpn", "c4", "c5"] = "fpn"
    """What proposals and heads look at: the pyramid; C4, of stride 16, with res5 as the box head
    and below the mask head (Figure 4, left); C5, of stride 32, with the heads of the pyramid."""
    fpn: FpnConfig = field(default_factory=FpnConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    masks: bool = True
    """Whether there is a mask head; without one it is Faster R-CNN."""
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    keypoints: bool = False
    """Whether there is a keypoint head."""
    keypoint_head: KeypointHeadConfig = field(default_factory=KeypointHeadConfig)

    def __post_init__(self) -> None:
        levels = 4 + self.fpn.extra_levels if self.features == "fpn" else 1
        rule = "4 + fpn.extra_levels" if self.features == "fpn" else f"features is {self.features}"
        _require(
            len(self.anchors.sizes) == levels,
            f"anchors.sizes must have one entry for each of the {levels} feature levels ({rule}); "
            f"got {len(self.anchors.sizes)}",
        )
        if self.features != "c4":
            _require(len(self.box_head.fc) > 0, "box_head.fc must hold at least one layer; got []")
            _require(
                self.backbone.res5_stride == 2,
                f"backbone.res5_stride must be 2 when features is {self.features}; got 1",
            )
            return
        _require(
            not self.box_head.fc and not self.box_head.convs,
            "box_head.fc and box_head.convs must be empty when features is c4: res5 is the head; "
            f"got {self.box_head.fc} and {self.box_head.convs}",
        )
        _require(
            not self.masks or self.mask_head.pool_size == self.box_head.pool_size,
            "mask_head.pool_size must be box_head.pool_size when features is c4: they share res5; "
            f"got {self.mask_head.pool_size} and {self.box_head.pool_size}",
        )
        _require(not self.keypoints, "keypoints must be false when features is c4; got true")


@dataclass(frozen=True)
class TrainConfig:
    iterations: Annotated[int, Field(ge=1, le=10**9)] = 90000
    batch_size: Count = 16
    """Images per iteration, over all processes together."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)] = 0.02
    momentum: Fraction = 0.9
    """Of sgd; adamw uses its customary 0.9 and 0.999."""
    weight_decay: NonNegative = 1e-4
    decay_vectors: bool = True
    """Whether weight decay covers one-dimensional parameters (biases, norms) too."""
    schedule: Literal["steps", "cosine"] = "steps"
    steps: tuple[Count, ...] = (60000, 80000)
    """Iterations at which the `steps` schedule multiplies the rate by `step_factor`."""
    step_factor: Fraction = 0.1
    final_factor: Fraction = 0.0
    """Fraction of the rate at which the `cosine` schedule ends."""
    warmup_iterations: Size = 1000
    warmup_factor: Fraction = 0.001
    clip_norm: Positive | None = None
    """Bound of the gradient's norm."""
    skip_empty: bool = False
    """Leave out annotations whose box has no area or whose mask has no pixel, instead of refusing
    the data: the training file of COCO 2017 has some."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Loading processes; changes no result."""
    threads: Count | None = None
    """Threads of torch in each process; null: its own choice. Sums depend on it in the last bit."""
    log_every: Count = 20
    checkpoint_every: Count = 1000
    eval_every: Size = 0
    """0: evaluate only at the end, and only if the data has a validation part."""

    def __post_init__(self) -> None:
        _require(
            list(self.steps) == sorted(set(self.steps)), f"steps must increase; got {self.steps}"
        )


@dataclass(frozen=True)
class Config:
    data: str = ""
    """What to train on, as for `--data`: coco:DIR, coco:ANNOTATIONS:IMAGES or nuclei."""
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


_ADAPTER = TypeAdapter(Config)


def to_mapping(config: Config) -> dict[str, Any]:
    """The configuration as nested dicts and lists of plain values."""
    mapping: dict[str, Any] = _ADAPTER.dump_python(config, mode="json")
    return mapping


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(to_mapping(config), sort_keys=False, default_flow_style=None, width=100)


def update(config: Config, changes: Mapping[str, Any]) -> Config:
    """`config` with the nested `changes` put in, checked as a whole.

    Raises ConfigError for an unknown key, a wrong type or range, or keys that contradict.
    """
    mapping = to_mapping(config)
    _merge(mapping, changes, ())
    try:
        return _ADAPTER.validate_python(mapping)
    except ValidationError as error:
        raise ConfigError("; ".join(_describe(e) for e in error.errors())) from None


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`["train.iterations=10", …]` as nested changes for `update`; values are read as YAML."""
    changes: dict[str, Any] = {}
    for argument in arguments:
        path, separator, text = argument.partition("=")
        *sections, key = path.split(".")
        if not separator or not all((*sections, key)):
            raise ConfigError(f"override must be key.sub=value; got {argument!r}")
        node = changes
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise ConfigError(f"override {argument!r} contradicts an earlier one")
        try:
            node[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"override {argument!r}: {text!r} is not a YAML value") from None
    return changes


def differences(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    a, b = _flatten(to_mapping(first)), _flatten(to_mapping(second))
    return {key: (a[key], b[key]) for key in a if a[key] != b[key]}


def _merge(mapping: dict[str, Any], changes: Mapping[str, Any], path: tuple[str, ...]) -> None:
    for key, value in changes.items():
        here = (*path, str(key))
        if key not in mapping:
            raise ConfigError(_unknown(here))
        if isinstance(mapping[key], dict):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{'.'.join(here)} is a section, set its keys; got {value!r}")
            _merge(mapping[key], value, here)
        else:
            mapping[key] = value


def _unknown(path: tuple[str, ...]) -> str:
    """Names the keys that look alike, here or (people forget the section) anywhere else."""
    known = [name for key in _flatten(to_mapping(Config())) for name in _prefixes(key)]
    last = {name: name.rpartition(".")[2] for name in known}
    near = [name for name in known if last[name] == path[-1]]
    near += difflib.get_close_matches(".".join(path), known, n=3, cutoff=0.75)
    alike = difflib.get_close_matches(path[-1], set(last.values()), n=3, cutoff=0.75)
    near += [name for name in known if last[name] in alike]
    hint = f"; did you mean {' or '.join(list(dict.fromkeys(near))[:4])}?" if near else ""
    return f"unknown configuration key {'.'.join(path)}{hint}"


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "configuration"
    if error["type"] == "value_error":  # raised by a __post_init__, which names the keys itself
        return f"{where}: {error['ctx']['error']}"
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}; got {error['input']!r}"
