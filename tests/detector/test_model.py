"""The model: shapes, gradients, sampling, and that it learns."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from tiny import SIDE, tiny_config, write_discs
from torch import nn

import roiops
from detector.backbone import NonLocal, ResNet
from detector.config import BackboneConfig, MaskHeadConfig, PoolingConfig, update
from detector.data import open_dataset
from detector.data.transforms import augment
from detector.mask_head import mask_loss, mask_probabilities
from detector.mask_rcnn import build_model, pad_images, pool_regions
from detector.paper import PAPER
from detector.predict import detect
from detector.presets import PRESETS, reduced
from detector.sampler import SampledProposals, sample_balanced, sample_proposals
from detector.schedule import build_optimizer
from detector.visualize import annotated


def model_for(config, classes=2):
    torch.manual_seed(0)
    return build_model(update(config, {"model": {"num_classes": classes}}))


def example(channels=3, objects=3, height=96, width=128):
    generator = torch.Generator().manual_seed(objects)
    image = torch.randn(channels, height, width, generator=generator)
    corners = torch.rand(objects, 2, generator=generator) * torch.tensor([width - 40, height - 40])
    boxes = torch.cat([corners, corners + 30], 1)
    masks = torch.zeros(objects, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    labels = torch.ones(objects, dtype=torch.int64)
    places = corners[:, None] + 30 * torch.rand(objects, 17, 2, generator=generator)
    keypoints = torch.cat([places, torch.ones(objects, 17, 1)], 2)
    return image, {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints}


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in PAPER])
def test_every_named_configuration_trains_a_step_and_detects(name):
    trains_a_step_and_detects(reduced(PRESETS[name]))


ONE_LEVEL = {"sizes": [[32, 64, 128, 256, 512]]}
C4 = {
    "features": "c4",
    "anchors": ONE_LEVEL,
    "box_head": {"fc": [], "pool_size": 14},
    "mask_head": {"convs": []},
}
VARIANTS = {
    "keypoints by RoIPool": {
        "masks": False,
        "keypoints": True,
        "pooling": {"operator": "roi_pool", "reduction": "max"},
    },
    "resnext": {"backbone": {"groups": 32, "group_width": 8, "blocks": [3, 4, 23, 3]}},
    "group norm": {
        "backbone": {"norm": "gn"},
        "fpn": {"norm": "gn"},
        "box_head": {"convs": [256, 256], "norm": "gn"},
        "mask_head": {"norm": "gn"},
    },
    "class-agnostic masks": {"mask_head": {"class_specific": False}},
    "all heads": {"keypoints": True},
    "boxes alone": {"masks": False},
    "c4, as the paper draws it": C4
    | {
        "backbone": {"res5_stride": 1},
        "box_head": {"fc": [], "pool_size": 7},
        "mask_head": {"pool_size": 7, "convs": []},
    },
    "c4, as Detectron has it": C4,
    "c5": {"features": "c5", "anchors": ONE_LEVEL},
    "RoIPool": {"pooling": {"operator": "roi_pool", "reduction": "max"}},
    "RoIWarp": {"pooling": {"operator": "roi_warp"}},
    "RoIWarp of a maximum": {"pooling": {"operator": "roi_warp", "reduction": "max"}},
    "RoIAlign of a maximum": {"pooling": {"reduction": "max"}},
    "masks of two layers": {"mask_head": {"convs": [], "fc": [1024, 1024]}},
    "softmax masks": {"mask_head": {"loss": "softmax"}},
    "softmax masks of layers": {"mask_head": {"convs": [], "fc": [1024], "loss": "softmax"}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_a_step_and_detects(name):
    config = update(PRESETS["mask_rcnn_r50_fpn_1x"], {"model": VARIANTS[name]})
    trains_a_step_and_detects(reduced(config))


def trains_a_step_and_detects(config):
    model = model_for(config, classes=3)
    heads = {"mask": config.model.masks, "keypoint": config.model.keypoints}
    channels = len(config.input.mean)
    # Two sizes, the second without objects.
    first, second = example(channels), example(channels, objects=0, height=64)
    losses = model([first[0], second[0]], [first[1], second[1]])
    extra = {head for head, there in heads.items() if there}
    assert set(losses) == {"rpn_objectness", "rpn_box", "box_class", "box_deltas"} | extra
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    sum(losses.values()).backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    moved = {n for n, p in model.named_parameters() if p.grad is not None}
    assert moved == trained
    frozen = config.model.backbone.frozen_stages
    assert ("backbone.stem.conv.weight" in trained or "backbone.stem.conv1.weight" in trained) == (
        frozen < 1
    )

    model.eval()
    with torch.no_grad():
        detections = model([first[0], second[0]])
    for found, (image, _) in zip(detections, (first, second), strict=True):
        boxes, scores = found["boxes"], found["scores"]
        assert len(boxes) <= config.model.box_head.max_detections
        assert (boxes[:, 0::2] >= 0).all()
        assert (boxes[:, 0::2] <= image.shape[2]).all()
        assert (boxes[:, 1::2] >= 0).all()
        assert (boxes[:, 1::2] <= image.shape[1]).all()
        assert (scores > config.model.box_head.score_threshold).all()
        assert (scores.diff() <= 0).all()
        assert ((found["labels"] >= 1) & (found["labels"] <= 3)).all()
        assert set(found) == {"boxes", "scores", "labels"} | {f"{head}s" for head in extra}
        if config.model.masks:
            side = 28 if config.model.features != "c4" else 14
            side = 20 if config.model.mask_head.pool_size == 10 else side
            assert found["masks"].shape == (len(boxes), side, side)
            assert ((found["masks"] >= 0) & (found["masks"] <= 1)).all()
        if config.model.keypoints:
            assert found["keypoints"].shape == (len(boxes), 17, 3)
            x, y, _ = found["keypoints"].unbind(-1)
            assert ((x >= boxes[:, :1]) & (x <= boxes[:, 2:3].maximum(boxes[:, :1] + 1))).all()
            assert ((y >= boxes[:, 1:2]) & (y <= boxes[:, 3:].maximum(boxes[:, 1:2] + 1))).all()


@pytest.mark.parametrize(
    ("operator", "reduction"),
    [
        ("roi_align", "mean"),
        ("roi_align", "max"),
        ("roi_warp", "mean"),
        ("roi_warp", "max"),
        ("roi_pool", "max"),
    ],
)
def test_regions_are_pooled_from_their_level_in_their_order(operator, reduction):
    config = PoolingConfig(operator=operator, reduction=reduction)
    generator = torch.Generator().manual_seed(0)
    strides = (4, 8, 16, 32)
    features = [torch.rand(2, 3, 256 // s, 256 // s, generator=generator) for s in strides]
    sides = torch.tensor([20.0, 230, 120, 30, 250, 60])
    boxes = torch.cat([torch.zeros(6, 2), sides[:, None].repeat(1, 2)], 1)
    found = pool_regions(config, features, [boxes[:4], boxes[4:]], 5, strides)
    levels = [0, 2, 1, 0, 2, 0]
    for row, level in enumerate(levels):
        roi = torch.cat([torch.tensor([float(row >= 4)]), boxes[row]])[None]
        call = getattr(roiops, operator)
        options = {} if operator == "roi_pool" else {"reduction": reduction, "sampling_ratio": 2}
        expected = call(features[level], roi, 5, 1 / strides[level], **options)
        torch.testing.assert_close(found[row : row + 1], expected)


def test_c4_sends_regions_through_res5(monkeypatch):
    changes = {"model": VARIANTS["c4, as the paper draws it"] | {"num_classes": 2}}
    model = build_model(reduced(update(PRESETS["mask_rcnn_r50_fpn_1x"], changes)))
    assert model.backbone.res5[0].conv2.stride == (1, 1)
    assert not hasattr(model, "fpn")
    image, target = example()
    features = model.backbone(pad_images([image]))[-1:]
    assert features[0].shape == (1, 32, 6, 8)
    # The mask head sees the cells of the positives, of all that went through res5.
    drawn, seen = [], []

    def remember(*arguments):
        drawn.append(sample_proposals(*arguments))
        return drawn[-1]

    monkeypatch.setattr("detector.mask_rcnn.sample_proposals", remember)
    model.mask_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model([image], [target])["mask"].backward()
    assert model.backbone.res5[0].conv1.weight.grad.abs().sum() > 0
    ((sampled,),) = drawn
    positive = sampled.boxes[sampled.labels > 0]
    assert 0 < len(positive) < len(sampled.boxes)
    torch.testing.assert_close(seen[0], model._pool(features, [positive], 7))


def test_a_softmax_divides_each_cell_among_classes_and_background():
    config = MaskHeadConfig(loss="softmax")
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 2, :2] = 20  # the upper half belongs to class 2, the lower to the background
    logits[0, 0, 2:] = 20
    found = SampledProposals(torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([2]), torch.tensor([0]))
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[:, :4] = 1
    assert mask_loss(config, logits, [found], [{"masks": masks}]) < 1e-6
    assert mask_loss(config, logits, [found], [{"masks": 1 - masks}]) > 19
    (probabilities,) = mask_probabilities(config, logits, [{"labels": torch.tensor([2])}])
    torch.testing.assert_close(probabilities[0], masks[0, ::2, ::2].float())


def test_one_forward_pass_can_be_read_in_an_hour():
    """Six files, 900 lines: what training adds (losses, sampling) stands in them too."""
    config = update(PRESETS["mask_rcnn_r50_fpn_v2"], {"model": {"keypoints": True}})
    model = model_for(reduced(config), classes=3).eval()
    entered = set()
    sys.setprofile(lambda frame, event, argument: entered.add(frame.f_code.co_filename))
    try:
        with torch.no_grad():
            model([example()[0]])
    finally:
        sys.setprofile(None)
    package = Path(sys.modules["detector"].__file__).parent
    files = {Path(name) for name in entered if Path(name).is_relative_to(package)}
    assert {"rpn.py", "keypoint_head.py"} <= {file.name for file in files}
    assert len(files) <= 6
    assert sum(len(file.read_text().splitlines()) for file in files) <= 900


def test_keypoints_without_visible_points_are_no_error():
    model = model_for(update(reduced(PRESETS["keypoint_rcnn_r50_fpn"]), {}), classes=1)
    image, target = example()
    target["keypoints"][..., 2] = 0
    losses = model([image], [target])
    assert losses["keypoint"] == 0
    sum(losses.values()).backward()
    assert model.keypoint_head.conv1.conv.weight.grad is not None


def test_a_class_agnostic_head_has_one_mask():
    config = update(tiny_config(), {"model": {"mask_head": {"class_specific": False}}})
    assert model_for(config).mask_head.logits.out_channels == 1
    assert model_for(tiny_config()).mask_head.logits.out_channels == 3


@pytest.mark.parametrize(
    ("groups", "width", "parameters"),
    [(1, None, 42_500_160), (32, 8, 86_742_336), (64, 4, 81_406_272)],
)
def test_a_backbone_of_101_layers_has_its_published_size(groups, width, parameters):
    """44.5 M of ResNet-101 and 88.8 M of ResNeXt-101 32x8d with a classifier of 2.0 M."""
    config = BackboneConfig(blocks=(3, 4, 23, 3), groups=groups, group_width=width, norm="bn")
    with torch.device("meta"):
        model = ResNet(config, 3)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_images_without_objects_are_negatives():
    model = model_for(tiny_config())
    image, target = example(objects=0)
    losses = model([image], [target])
    sum(losses.values()).backward()
    assert losses["rpn_box"] == losses["box_deltas"] == losses["mask"] == 0
    assert losses["rpn_objectness"] > 0
    assert losses["box_class"] > 0
    assert model.rpn.objectness.weight.grad.abs().sum() > 0


def test_no_gradient_flows_into_proposals():
    model = model_for(tiny_config())
    image, target = example()
    losses = model([image], [target])
    (losses["box_class"] + losses["box_deltas"] + losses["mask"]).backward()
    assert model.rpn.deltas.weight.grad is None
    assert model.rpn.objectness.weight.grad is None
    assert model.backbone.stem.conv1.weight.grad.abs().sum() > 0


def test_training_needs_targets_and_building_needs_classes():
    with pytest.raises(ValueError, match="targets must be given"):
        model_for(tiny_config())([torch.zeros(3, 64, 64)])
    with pytest.raises(ValueError, match="num_classes must be set"):
        build_model(tiny_config())


def test_a_non_local_block_starts_as_nothing_and_looks_everywhere():
    torch.manual_seed(0)
    narrow = {"blocks": (1, 1, 2, 1), "channels": (16, 16, 16, 16), "stem_channels": (8,)}
    plain = ResNet(BackboneConfig(**narrow), 3)
    model = ResNet(BackboneConfig(**narrow, non_local=True), 3)
    left = model.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in left.missing_keys} == {"non_local"}
    images = torch.randn(1, 3, 128, 160)
    for found, expected in zip(model(images), plain(images), strict=True):
        torch.testing.assert_close(found, expected)

    nn.init.ones_(model.non_local.out.bias)
    changed = [not torch.equal(a, b) for a, b in zip(model(images), plain(images), strict=True)]
    assert changed == [False, False, True, True]

    # By the definition, one position after another.
    block = NonLocal(6)
    x = torch.randn(2, 6, 5, 7)
    pooled = F.max_pool2d(x, 2, ceil_mode=True)
    q, k, v = block.query(x), block.key(pooled).flatten(2), block.value(pooled).flatten(2)
    for row, column in ((0, 0), (4, 6)):
        likeness = torch.einsum("nc,ncp->np", q[:, :, row, column], k) / 3**0.5
        seen = torch.einsum("np,ncp->nc", likeness.softmax(1), v)
        expected = x[:, :, row, column] + block.out(seen[:, :, None, None])[:, :, 0, 0]
        torch.testing.assert_close(block(x)[:, :, row, column], expected)


def test_frozen_stages_keep_weights_and_statistics():
    config = BackboneConfig(
        norm="bn", frozen_stages=2, blocks=(1, 1, 1, 1), channels=(16, 16, 16, 16)
    )
    model = ResNet(config, 3).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(key.split(".")[0] in {"res3", "res4", "res5"} for key in changed)
    assert model.res2[0].conv1.weight.grad is None
    assert model.res3[0].conv1.weight.grad is not None


@pytest.mark.parametrize(("where", "layer"), [("1x1", "conv1"), ("3x3", "conv2")])
def test_the_stride_is_where_the_configuration_says(where, layer):
    block = ResNet(BackboneConfig(stride_in=where), 3).res3[0]
    strides = {name: getattr(block, name).stride[0] for name in ("conv1", "conv2", "conv3")}
    assert strides == {"conv1": 1, "conv2": 1, "conv3": 1, layer: 2}


@pytest.mark.parametrize("norm", ["bn", "frozen_bn", "gn"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_features_have_strides_4_to_32(norm, block):
    config = BackboneConfig(
        block=block, norm=norm, channels=(8, 16, 24, 32), blocks=(1, 2, 1, 1), stem_channels=(8,)
    )
    features = ResNet(config, 3)(torch.randn(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 24, 4, 6),
        (2, 32, 2, 3),
    ]


def test_padding_is_below_and_to_the_right():
    batch = pad_images([torch.ones(1, 33, 20), torch.ones(1, 10, 65)])
    assert batch.shape == (2, 1, 64, 96)
    assert batch[0, 0, :33, :20].all()
    assert batch.sum() == 33 * 20 + 10 * 65


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(100, 100, (8, 24)), (3, 100, (3, 29)), (100, 5, (8, 5)), (0, 0, (0, 0))],
)
def test_sampling_is_balanced(positives, negatives, expected):
    labels = torch.tensor([1] * positives + [-1] * 50 + [0] * negatives, dtype=torch.int8)
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    chosen = sample_balanced(labels, 32, 0.25)
    assert len(chosen.unique()) == len(chosen)
    assert ((labels[chosen] == 1).sum(), (labels[chosen] == 0).sum()) == expected


def test_it_learns_one_image_by_heart(tmp_path):
    """The whole chain at once: losses fall, and the objects are found with their outlines."""
    config = tiny_config(iterations=80)
    sample = open_dataset(f"coco:{write_discs(tmp_path)}", "train")[0]
    model = model_for(config)
    optimizer = build_optimizer(model, config.train)
    rng = np.random.default_rng(0)
    plain = update(config, {"augment": {"flip": False, "vertical_flip": False, "rotate90": False}})
    totals = []
    for _ in range(config.train.iterations):
        image, target = augment(sample, plain.input, plain.augment, rng)
        losses = model([image], [target])
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.mean(totals[-5:]) < 0.4 * np.mean(totals[:5])

    found = detect(model, sample.image, config.input, "cpu", 0.5)
    truth = annotated(sample)
    overlaps = coco_mask.iou(found["masks"], truth["masks"], [False] * len(truth["masks"]))
    best = overlaps.argmax(0)
    assert (overlaps.max(0) > 0.7).all()
    np.testing.assert_array_equal(found["labels"][best], truth["labels"])
    np.testing.assert_allclose(found["boxes"][best], truth["boxes"], atol=SIDE / 10)
