"""Weights of other projects: files in their exact layout, written here, become our checkpoints."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from detector.checkpoint import CheckpointError, load_checkpoint, load_model
from detector.cli import cli
from detector.config import update
from detector.convert import ConversionError, convert, name_categories
from detector.data.transforms import prepare
from detector.mask_rcnn import build_model
from detector.presets import MASK_RCNN_R50_FPN_1X, reduced

torchvision = pytest.importorskip("torchvision")
CLASSES = 4


def model_of(**changes):
    """A small model in the shape of the large ones; every parameter and statistic is random."""
    config = reduced(MASK_RCNN_R50_FPN_1X)
    model = {"num_classes": CLASSES, "backbone": {"blocks": [1, 2, 1, 1]}, "fpn": {"channels": 8}}
    model["mask_head"] = {"convs": [8, 12], "deconv": 20}
    config = update(update(config, {"model": model}), {"model": changes})
    torch.manual_seed(0)
    result = build_model(config)
    for value in result.state_dict().values():
        value.copy_(torch.rand_like(value) + 0.1)
    return config, result.state_dict()


def bottlenecks(state):
    """(stage, block) of each bottleneck and whether its shortcut has a convolution."""
    names = {tuple(name.split(".")[1:3]) for name in state if name.startswith("backbone.res")}
    for stage, block in sorted(names):
        number = stage.removeprefix("res")
        yield number, block, f"backbone.{stage}.{block}.shortcut.conv.weight" in state


def torchvision_names(state, *, old=False):
    """Their name → ours; `old`: as files until version 0.13 have them."""
    zero = "" if old else ".0"
    names = {"backbone.body.conv1": "backbone.stem.conv", "backbone.body.bn1": "backbone.stem.norm"}
    for stage, block, projects in bottlenecks(state):
        theirs = f"backbone.body.layer{int(stage) - 1}.{block}"
        ours = f"backbone.res{stage}.{block}"
        for n in "123":
            names |= {f"{theirs}.conv{n}": f"{ours}.conv{n}", f"{theirs}.bn{n}": f"{ours}.norm{n}"}
        if projects:
            names[f"{theirs}.downsample.0"] = f"{ours}.shortcut.conv"
            names[f"{theirs}.downsample.1"] = f"{ours}.shortcut.norm"
    for level in range(4):
        names[f"backbone.fpn.inner_blocks.{level}{zero}"] = f"fpn.lateral{level + 2}.conv"
        names[f"backbone.fpn.layer_blocks.{level}{zero}"] = f"fpn.output{level + 2}.conv"
    names |= {
        "rpn.head.conv" if old else "rpn.head.conv.0.0": "rpn.conv1",
        "rpn.head.cls_logits": "rpn.objectness",
        "rpn.head.bbox_pred": "rpn.deltas",
        "roi_heads.box_head.fc6": "box_head.fc1",
        "roi_heads.box_head.fc7": "box_head.fc2",
        "roi_heads.box_predictor.cls_score": "box_head.cls",
        "roi_heads.box_predictor.bbox_pred": "box_head.deltas",
        "roi_heads.mask_predictor.conv5_mask": "mask_head.deconv",
        "roi_heads.mask_predictor.mask_fcn_logits": "mask_head.logits",
    }
    for n in (1, 2):
        theirs = f"mask_fcn{n}" if old else f"{n - 1}.0"
        names[f"roi_heads.mask_head.{theirs}"] = f"mask_head.conv{n}.conv"
    return names


def detectron2_names(state):
    bottom = "backbone.bottom_up."
    names = {
        f"{bottom}stem.conv1": "backbone.stem.conv",
        f"{bottom}stem.conv1.norm": "backbone.stem.norm",
    }
    for stage, block, projects in bottlenecks(state):
        theirs, ours = f"{bottom}res{stage}.{block}", f"backbone.res{stage}.{block}"
        for n in "123":
            names[f"{theirs}.conv{n}"] = f"{ours}.conv{n}"
            names[f"{theirs}.conv{n}.norm"] = f"{ours}.norm{n}"
        if projects:
            names[f"{theirs}.shortcut"] = f"{ours}.shortcut.conv"
            names[f"{theirs}.shortcut.norm"] = f"{ours}.shortcut.norm"
    for level in "2345":
        names[f"backbone.fpn_lateral{level}"] = f"fpn.lateral{level}.conv"
        names[f"backbone.fpn_output{level}"] = f"fpn.output{level}.conv"
    return names | {
        "proposal_generator.rpn_head.conv": "rpn.conv1",
        "proposal_generator.rpn_head.objectness_logits": "rpn.objectness",
        "proposal_generator.rpn_head.anchor_deltas": "rpn.deltas",
        "roi_heads.box_head.fc1": "box_head.fc1",
        "roi_heads.box_head.fc2": "box_head.fc2",
        "roi_heads.box_predictor.cls_score": "box_head.cls",
        "roi_heads.box_predictor.bbox_pred": "box_head.deltas",
        "roi_heads.mask_head.mask_fcn1": "mask_head.conv1.conv",
        "roi_heads.mask_head.mask_fcn2": "mask_head.conv2.conv",
        "roi_heads.mask_head.deconv": "mask_head.deconv",
        "roi_heads.mask_head.predictor": "mask_head.logits",
    }


def caffe2_names(state):
    """Without the ends _w, _b and, of norms, _s, _b."""
    names = {"conv1": "backbone.stem.conv", "res_conv1_bn": "backbone.stem.norm"}
    last = {}
    for stage, block, projects in bottlenecks(state):
        last[stage] = block
        theirs, ours = f"res{stage}_{block}_branch", f"backbone.res{stage}.{block}"
        for n, branch in zip("123", ("2a", "2b", "2c"), strict=True):
            names[f"{theirs}{branch}"] = f"{ours}.conv{n}"
            names[f"{theirs}{branch}_bn"] = f"{ours}.norm{n}"
        if projects:
            names[f"{theirs}1"] = f"{ours}.shortcut.conv"
            names[f"{theirs}1_bn"] = f"{ours}.shortcut.norm"
    for stage, block in last.items():
        side = "" if stage == "5" else "_lateral"
        names[f"fpn_inner_res{stage}_{block}_sum{side}"] = f"fpn.lateral{stage}.conv"
        names[f"fpn_res{stage}_{block}_sum"] = f"fpn.output{stage}.conv"
    return names | {
        "conv_rpn_fpn2": "rpn.conv1",
        "rpn_cls_logits_fpn2": "rpn.objectness",
        "rpn_bbox_pred_fpn2": "rpn.deltas",
        "fc6": "box_head.fc1",
        "fc7": "box_head.fc2",
        "cls_score": "box_head.cls",
        "bbox_pred": "box_head.deltas",
        "_[mask]_fcn1": "mask_head.conv1.conv",
        "_[mask]_fcn2": "mask_head.conv2.conv",
        "conv5_mask": "mask_head.deconv",
        "mask_fcn_logits": "mask_head.logits",
    }


C4 = {
    "features": "c4",
    "anchors": {"sizes": [[32, 64, 128, 256, 512]]},
    "box_head": {"fc": [], "pool_size": 14},
    "mask_head": {"convs": []},
}
"""A model whose box head is res5: no pyramid, no fully connected layers."""


def without_pyramid(names, *, res5=None, conv_rpn=None):
    """The names of a C4 model, given those of one with a pyramid."""
    kept = {}
    for theirs, ours in names.items():
        if ours.startswith(("fpn.", "box_head.fc", "mask_head.conv")):
            continue
        if res5 is not None and ours.startswith("backbone.res5."):
            theirs = theirs.replace("backbone.bottom_up.", res5)
        elif res5 is not None:
            theirs = theirs.replace("backbone.bottom_up.", "backbone.")
        kept[theirs.removesuffix("_fpn2")] = ours
    return kept


@pytest.mark.parametrize("source", ["detectron2", "caffe2"])
def test_a_model_on_c4(source, tmp_path, monkeypatch):
    _, state = model_of(**C4)
    path = tmp_path / "a.pkl"
    if source == "caffe2":
        names = without_pyramid(caffe2_names(state))
        monkeypatch.setitem(globals(), "caffe2_names", lambda state: names)
        assert {"conv_rpn_w", "res5_0_branch2a_w"} <= set(caffe2_file(state, path))
    else:
        names = without_pyramid(detectron2_names(state), res5="roi_heads.")
        monkeypatch.setitem(globals(), "detectron2_names", lambda state: names)
        written = set(detectron2_file_on(state, path, "backbone.stem.conv1.weight"))
        assert {"backbone.res4.0.conv1.weight", "roi_heads.res5.0.conv1.weight"} <= written
    result, checkpoint = convert(path, source)
    assert result.complete, result.lines()
    model = checkpoint.config.model
    assert (model.features, model.box_head.pool_size, model.box_head.fc) == ("c4", 14, ())
    name = "backbone.res5.0.conv2.weight"
    assert torch.equal(checkpoint.model[name], state[name])


def with_parts(names, state):
    """Their parameter → our value, for every part (weight, bias, statistics) of every layer."""
    found = {}
    for theirs, ours in names.items():
        parts = {name.rpartition(".")[2] for name in state if name.rpartition(".")[0] == ours}
        assert parts, ours
        found |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for part in parts}
    assert len(found) == len(state)
    return found


def detectron2_file(state, path):
    return detectron2_file_on(state, path, "backbone.bottom_up.stem.conv1.weight")


def detectron2_file_on(state, path, stem):
    """A .pkl as of their model zoo: NumPy arrays, background last, blue first."""
    weights = with_parts(detectron2_names(state), state)
    for end in ("weight", "bias"):
        cls = f"roi_heads.box_predictor.cls_score.{end}"
        deltas = f"roi_heads.box_predictor.bbox_pred.{end}"
        masks = f"roi_heads.mask_head.predictor.{end}"
        weights[cls] = torch.cat([weights[cls][1:], weights[cls][:1]])
        weights[deltas] = weights[deltas][4:]
        weights[masks] = weights[masks][1:]
    weights[stem] = weights[stem][:, [2, 1, 0]]
    weights["pixel_mean"] = torch.tensor([100.0, 110.0, 120.0])[:, None, None]
    weights["pixel_std"] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    weights["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    if path.suffix == ".pth":
        torch.save({"model": OrderedDict(weights), "iteration": 1}, path)
    else:
        arrays = {name: value.numpy() for name, value in weights.items()}
        content = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
        path.write_bytes(pickle.dumps(content, protocol=2))
    return weights


def caffe2_file(state, path):
    """Norms as scale and bias; the optimiser's momenta beside the weights."""
    blobs = {}
    for theirs, ours in caffe2_names(state).items():
        norm = theirs.endswith("_bn")
        for part, end in (("weight", "s" if norm else "w"), ("bias", "b")):
            if f"{ours}.{part}" in state:
                blobs[f"{theirs}_{end}"] = state[f"{ours}.{part}"].numpy()
    blobs["conv1_w"] = blobs["conv1_w"][:, ::-1]
    blobs |= {f"{name}_momentum": np.zeros_like(value) for name, value in list(blobs.items())[:3]}
    blobs["lr"] = np.float32(0.01)
    path.write_bytes(pickle.dumps({"blobs": blobs, "cfg": "MODEL: {}"}, protocol=2))
    return blobs


@pytest.mark.parametrize("old", [False, True])
def test_torchvision(old, tmp_path):
    config, state = model_of()
    weights = with_parts(torchvision_names(state, old=old), state)
    weights["backbone.body.bn1.num_batches_tracked"] = torch.tensor(5)
    torch.save(OrderedDict(weights), tmp_path / "a.pth")
    result, checkpoint = convert(tmp_path / "a.pth", "torchvision")
    assert result.complete, result.lines()
    assert len(result.matched) + len(result.dropped) == len(weights)
    assert list(result.dropped) == ["backbone.body.bn1.num_batches_tracked"]
    assert checkpoint.model.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(checkpoint.model[name], value), name
    for part in ("backbone", "fpn", "mask_head"):
        found, wanted = getattr(checkpoint.config.model, part), getattr(config.model, part)
        assert found == wanted
    assert checkpoint.config.model.backbone.stride_in == "3x3"


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_detectron2(suffix, tmp_path):
    _, state = model_of()
    path = tmp_path / f"a.{suffix}"
    weights = detectron2_file(state, path)
    result, checkpoint = convert(path, "detectron2")
    assert result.complete, result.lines()
    assert len(result.matched) + len(result.dropped) == len(weights) + 0
    for name, value in state.items():
        expected = value.clone()
        if name.startswith("box_head.deltas."):
            expected[:4] = 0  # background has no box, there or here
        if name.startswith("mask_head.logits."):
            expected[0] = 0
        assert torch.equal(checkpoint.model[name], expected), name
    config = checkpoint.config
    assert config.model.backbone.stride_in == "1x1"
    assert config.model.pooling.aligned
    assert config.model.anchors.convention == "detectron2"

    # What the first convolution sees and does is the same, from the pixels on.
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float()
    theirs = (bgr - weights["pixel_mean"]) / weights["pixel_std"]
    kernel = weights["backbone.bottom_up.stem.conv1.weight"]
    expected = F.conv2d(theirs[None], kernel, stride=2, padding=3)
    plain = update(config, {"input": {"short_edge": None, "scale": 1.0}})
    model = build_model(plain)
    model.load_state_dict(checkpoint.model)
    found = model.backbone.stem.conv(prepare(image, plain.input)[None])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)


def test_caffe2(tmp_path):
    _, state = model_of()
    path = tmp_path / "a.pkl"
    blobs = caffe2_file(state, path)
    result, checkpoint = convert(path, "caffe2")
    assert result.complete, result.lines()
    entries = len(result.matched) + len(result.dropped)
    assert entries == len(blobs)
    assert checkpoint.model.keys() == state.keys()
    for name, value in checkpoint.model.items():
        if name.endswith("running_mean"):
            assert (value == 0).all()
        elif name.endswith("running_var"):
            torch.testing.assert_close(value + 1e-5, torch.ones_like(value))
        else:
            assert torch.equal(value, state[name]), name
    config = checkpoint.config
    assert config.model.backbone.stride_in == "1x1"
    assert config.input.mean == pytest.approx([122.7717 / 255, 115.9465 / 255, 102.9801 / 255])
    assert config.input.std == pytest.approx([1 / 255] * 3)
    assert config.model.anchors.convention == "detectron"


@pytest.mark.parametrize(
    ("source", "names"), [("detectron2", detectron2_names), ("caffe2", caffe2_names)]
)
def test_resnext_strides_in_3x3_and_has_deviations(source, names, tmp_path):
    groups = {"groups": 2, "group_width": 4, "channels": [16, 16, 32, 32], "blocks": [1, 2, 1, 1]}
    _, state = model_of(backbone=groups)
    path = tmp_path / "a.pkl"
    if source == "caffe2":
        caffe2_file(state, path)
    else:
        weights = with_parts(names(state), state)
        path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in weights.items()}}))
    _, checkpoint = convert(path, source)
    backbone = checkpoint.config.model.backbone
    assert (backbone.groups, backbone.group_width, backbone.stride_in) == (2, 4, "3x3")
    assert checkpoint.config.input.std == pytest.approx([58.395 / 255, 57.12 / 255, 57.375 / 255])


def test_a_backbone_alone_starts_a_training(tmp_path):
    path, out = tmp_path / "resnet.pth", tmp_path / "out.pt"
    weights = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(weights, path)
    refused = run(path, out, "torchvision")
    assert refused.exit_code == 1
    assert "0 keys have no place" in refused.output
    assert not out.exists()
    result = run(path, out, "torchvision", "--partial")
    assert result.exit_code == 0, result.output
    assert "conv1.weight -> backbone.stem.conv.weight\n" in result.output
    assert "dropped: fc.weight: the classifier of ImageNet\n" in result.output
    assert "missing: box_head.cls.weight\n" in result.output
    found = load_checkpoint(out).model
    assert len(found) == 53 * 5  # the convolutions, and four parts of each norm
    assert torch.equal(found["backbone.res5.2.conv3.weight"], weights["layer4.2.conv3.weight"])
    with pytest.raises(CheckpointError, match="a backbone alone, for --init"):
        load_model(out, "cpu")


def run(path, out, source, *options):
    arguments = ["convert", str(path), str(out), "--from", source, *options]
    return CliRunner().invoke(cli, arguments)


def test_every_key_is_printed_and_a_gap_exits_with_1(tmp_path):
    _, state = model_of()
    weights = with_parts(torchvision_names(state), state)
    del weights["rpn.head.bbox_pred.bias"]
    weights["roi_heads.box_predictor.bbox_pred.weight"] = torch.zeros(3, 32)
    weights["roi_heads.extra.weight"] = torch.zeros(1)
    path, out = tmp_path / "a.pth", tmp_path / "out.pt"
    torch.save(weights, path)
    result = run(path, out, "torchvision")
    assert result.exit_code == 1
    for key in weights:
        assert any(key in line for line in result.output.splitlines())
    assert "no place: roi_heads.extra.weight" in result.output
    assert "box_head.deltas.weight must have shape (20, 32); got (3, 32)" in result.output
    assert "missing: rpn.deltas.bias" in result.output
    assert not out.exists()
    assert run(path, out, "torchvision", "--partial").exit_code == 0
    with pytest.raises(CheckpointError, match=r"do not fit .* missing rpn\.deltas\.bias"):
        load_model(out, "cpu")
    again = run(path, out, "torchvision", "--partial")
    assert again.exit_code == 1
    assert "exists already" in again.output


def test_a_converted_file_is_used_as_any_checkpoint(tmp_path):
    _, state = model_of()
    path, out = tmp_path / "a.pth", tmp_path / "out.pt"
    torch.save(with_parts(torchvision_names(state), state), path)
    result = run(path, out, "torchvision", "--stride-in", "1x1")
    assert result.exit_code == 0, result.output
    model, checkpoint = load_model(out, "cpu")
    assert checkpoint.config.model.backbone.stride_in == "1x1"
    assert [category.name for category in checkpoint.categories][-1] == f"class {CLASSES}"
    assert model.backbone.res3[0].conv1.stride == (2, 2)


def test_norms_of_another_eps_do_the_same(tmp_path):
    _, state = model_of()
    names = torchvision_names(state)
    weights = with_parts(names, state)
    variance = torch.logspace(-7, 0, len(weights["backbone.body.bn1.running_var"]))
    weights["backbone.body.bn1.running_var"] = variance
    torch.save(weights, tmp_path / "a.pth")
    result, checkpoint = convert(tmp_path / "a.pth", "torchvision", norm_eps=0)
    assert result.complete
    model = build_model(checkpoint.config)
    model.load_state_dict(checkpoint.model)
    x = torch.rand(1, len(variance), 3, 3)
    bn = "backbone.body.bn1."
    expected = F.batch_norm(
        x, weights[f"{bn}running_mean"], variance, weights[f"{bn}weight"], weights[f"{bn}bias"],
        eps=0,
    )  # fmt: skip
    torch.testing.assert_close(model.backbone.stem.norm(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("classes", "names"), [(90, (1, 90)), (80, (1, 90)), (3, (1, 3))])
def test_categories_are_those_of_coco_where_their_number_says_so(classes, names):
    config = update(MASK_RCNN_R50_FPN_1X, {"model": {"num_classes": classes}})
    categories = name_categories(config)
    assert len(categories) == classes
    assert (categories[0].id, categories[-1].id) == names
    if classes == 80:
        wanted = torchvision.models.detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
        wanted = wanted.meta["categories"]
        assert all(wanted[category.id] == category.name for category in categories)


class _Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_code_in_a_file_is_not_run(suffix, tmp_path):
    path = tmp_path / f"evil.{suffix}"
    content = {"model": {"a": _Exploit(tmp_path / "trace")}}
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(ConversionError, match=rf"evil\.{suffix}: ") as caught:
        convert(path, "detectron2")
    assert not (tmp_path / "trace").exists()
    if suffix == "pkl":
        assert "open, which weights never need" in str(caught.value)


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
@pytest.mark.parametrize("kept", [0, 20, -5])
def test_a_truncated_file_is_named(suffix, kept, tmp_path):
    _, state = model_of()
    path = tmp_path / f"a.{suffix}"
    detectron2_file(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConversionError, match=rf"a\.{suffix}: truncated"):
        convert(path, "detectron2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold weights by name; got list"),
        ({}, "must hold weights by name"),
        ({"encoder.weight": torch.zeros(3)}, "not weights of torchvision: none of its 0 known"),
    ],
)
def test_something_else_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "a.pth", "torchvision")
    with pytest.raises(ConversionError, match="no such file"):
        convert(tmp_path / "b.pth", "torchvision")
