"""Configurations: what is refused, and how the message helps."""

import dataclasses

import pytest
import yaml

from detector.config import (
    Config,
    ConfigError,
    differences,
    parse_overrides,
    to_mapping,
    to_yaml,
    update,
)
from detector.presets import NUCLEI_DEMO, PRESETS, load_config

C4 = ["model.features=c4", "model.anchors.sizes=[[32]]"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_named_configuration_survives_yaml(name, tmp_path):
    config = load_config(name)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(str(path)) == config


def test_configurations_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.iterations = 1


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.learning_rat=1", "train.learning_rate"),
        ("learning_rate=1", "train.learning_rate"),
        ("model.fpn.chanels=8", "model.fpn.channels"),
        ("trian.iterations=5", "train"),
        ("model.box_heed.fc=[8]", "model.box_head"),
    ],
)
def test_an_unknown_key_is_refused_and_near_ones_are_named(override, hint):
    with pytest.raises(ConfigError, match="unknown configuration key") as caught:
        load_config("nuclei_demo", [override])
    suggestions = str(caught.value).partition("did you mean ")[2].rstrip("?").split(" or ")
    assert hint in suggestions


def test_a_key_like_no_other_gets_no_hint():
    with pytest.raises(ConfigError, match=r"unknown configuration key qqqq$"):
        load_config("nuclei_demo", ["qqqq=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.iterations=0", "train.iterations: .*greater than or equal to 1; got 0"),
        ("train.iterations=ten", "train.iterations: .*integer.*got 'ten'"),
        ("train.learning_rate=.nan", "train.learning_rate: .*finite"),
        ("model.backbone.norm=layer", "model.backbone.norm: .*'bn'.*got 'layer'"),
        ("model.rpn.nms_threshold=1.5", "model.rpn.nms_threshold"),
        ("train=3", "train is a section"),
        ("train.learning_rate=1e300", "train.learning_rate"),
        ("train.iterations=99999999999999999999999", "train.iterations"),
        ("train.workers=1000000", "train.workers"),
        ("augment.scale_jitter=1e6", "augment.scale_jitter"),
        ("input.mean=[.nan,0,0]", "input.mean"),
        ("train.seed=18446744073709551616", "train.seed: .*less than"),
        ("model.fpn=null", "model.fpn is a section"),
    ],
)
def test_a_wrong_value_is_refused_by_key_and_value(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config("nuclei_demo", [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input.short_edge=[800]"], "exactly one of scale and short_edge"),
        (["input.scale=null"], "exactly one of scale and short_edge"),
        (["input.channels=rgb"], "mean and std must have 3"),
        (["input.short_edge=[]", "input.scale=null"], "short_edge must hold at least one"),
        (["augment.scale_jitter=0.5"], "scale_jitter must be >= 1"),
        (["augment.brightness=1"], "brightness must be < 1"),
        (["model.backbone.stem=pool"], "stem_channels must have 1"),
        (["model.backbone.block=bottleneck", "model.backbone.channels=[6,8,8,8]"], "multiples"),
        (["model.fpn.extra_levels=3"], "one entry for each of the 7 feature levels"),
        (["model.anchors.sizes=[[8,16],[32],[64],[128],[256]]"], "same number of sizes"),
        (["model.anchors.aspect_ratios=[]"], "aspect_ratios must not be empty"),
        (["model.rpn.negative_iou=0.9"], "negative_iou must not exceed positive_iou"),
        (["model.box_head.fc=[]"], "fc must hold"),
        (["model.box_head.norm=bn"], "norm must be null when convs is empty; got bn"),
        (["model.keypoint_head.convs=[]"], "convs must hold"),
        (["model.features=c5"], r"each of the 1 feature levels \(features is c5\); got 5"),
        (C4, "box_head.fc and box_head.convs must be empty when features is c4.*got .128"),
        ([*C4, "model.box_head.fc=[]"], "mask_head.pool_size must be box_head.pool_size .* 10 and"),
        (
            [*C4, "model.box_head.fc=[]", "model.masks=false", "model.keypoints=true"],
            "keypoints must be false when features is c4",
        ),
        (["model.backbone.res5_stride=1"], "res5_stride must be 2 when features is fpn; got 1"),
        (["model.pooling.operator=roi_pool"], "reduction must be max when operator is roi_pool"),
        (
            ["model.pooling.operator=roi_warp", "model.pooling.aligned=true"],
            "aligned must be false when operator is roi_warp; got true",
        ),
        (["model.mask_head.fc=[8]"], "convs must be empty when fc is given"),
        (["model.mask_head.convs=[]", "model.mask_head.norm=gn"], "norm must be null"),
        (
            ["model.mask_head.loss=softmax", "model.mask_head.class_specific=false"],
            "class_specific must be true when loss is softmax",
        ),
        (
            ["model.backbone.non_local=true", "model.backbone.blocks=[2,2,1,2]"],
            "blocks must have 2 or more in res4",
        ),
        (["model.backbone.groups=2"], "groups must be 1 .* when block is basic; got 2"),
        (["model.backbone.block=bottleneck", "model.backbone.groups=3"], "groups must divide"),
        (["train.steps=[20,10]"], "steps must increase"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("nuclei_demo", overrides)


def test_overrides_are_yaml_values():
    changes = parse_overrides(
        ["train.learning_rate=1e-3", "input.short_edge=null", "model.anchors.sizes=[[1],[2]]"]
    )
    assert changes["input"] == {"short_edge": None}
    assert changes["model"] == {"anchors": {"sizes": [[1], [2]]}}
    # YAML reads 1e-3 as text; the field's type makes it a number.
    assert load_config("nuclei_demo", ["train.learning_rate=1e-3"]).train.learning_rate == 1e-3


@pytest.mark.parametrize("text", ["train.iterations", "=3", "train.=3", ".x=3", "a=[1"])
def test_a_malformed_override_is_refused(text):
    with pytest.raises(ConfigError, match="override"):
        parse_overrides([text])


def test_overrides_of_a_section_and_its_key_contradict():
    with pytest.raises(ConfigError, match="contradicts"):
        parse_overrides(["train=3", "train.iterations=3"])


def test_a_file_changes_only_its_keys(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: nuclei_demo\ntrain:\n  iterations: 7\n")
    config = load_config(str(path), ["train.seed=3"])
    assert differences(NUCLEI_DEMO, config) == {
        "train.iterations": (NUCLEI_DEMO.train.iterations, 7),
        "train.seed": (0, 3),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "not YAML"),
        ("- 1", "must hold configuration keys; got list"),
        ("base: nothing", "base must be one of"),
        ("base: nuclei_demo:nobody", "convention must be one of paper, detectron.*got 'nobody'"),
        ("base: [a]", "base must be one of"),
        ("train: {iteration: 5}", "did you mean train.iterations"),
    ],
)
def test_an_unusable_file_is_named(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(str(path))
    assert str(path) in str(caught.value)


def test_an_unknown_name_lists_the_near_or_the_known_ones():
    with pytest.raises(ConfigError, match=r"one of nuclei_demo; got 'nuclei_dmo'"):
        load_config("nuclei_dmo")
    with pytest.raises(ConfigError, match=r"nuclei_demo, .*row of the paper .*got 'x'"):
        load_config("x")


def test_plain_values_only():
    assert yaml.safe_load(to_yaml(NUCLEI_DEMO)) == to_mapping(NUCLEI_DEMO)
    assert update(Config(), to_mapping(NUCLEI_DEMO)) == NUCLEI_DEMO
