"""The rows of the paper: each has its configuration, its figures, and trains at reduced size."""

import json

import pytest
import torch
from click.testing import CliRunner
from tiny import write_discs

from detector.checkpoint import load_checkpoint
from detector.cli import cli
from detector.config import ConfigError, differences, update
from detector.conventions import CONVENTIONS, apply_convention
from detector.mask_rcnn import build_model
from detector.paper import KEYPOINT_DATA, PAPER
from detector.presets import PRESETS, load_config, reduced
from detector.run_folder import RunError
from detector.train import train

DISTINCT: dict[str, str] = {}
FULL: dict[object, str] = {}
for _name, _config in PRESETS.items():
    FULL.setdefault(_config.model, _name)
    _small = reduced(_config)
    DISTINCT.setdefault(str((_small.model, _small.input)), _name)


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"), train=3, val=2)


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_every_figure_of_the_paper_has_its_row():
    """50 rows: those of tables 1 to 9, two figures in the text and the speed of section 4.4."""
    assert len(PAPER) == 50
    assert len({(row.table, row.row) for row in PAPER.values()}) == 50
    assert PAPER["table2a_r50_fpn"].expected["mask"] == {"AP": 33.6, "AP50": 55.2, "AP75": 35.3}
    assert PAPER["table8_x152_non_local_tta"].expected["box"]["AP"] == 47.3
    assert PAPER["table7_fine"].expected["test_class"]["rider"] == 23.7


@pytest.mark.parametrize("name", DISTINCT.values())
def test_every_configuration_trains_and_evaluates(name, discs, tmp_path):
    """At reduced size; configurations that are then the same are tested once."""
    config = update(reduced(PRESETS[name]), {"data": f"coco:{discs}", "train": {"workers": 0}})
    if config.model.keypoints:  # its model trains in test_model
        assert name not in PAPER or KEYPOINT_DATA in PAPER[name].not_yet
        with pytest.raises(RunError, match="keypoints"):
            train(config, tmp_path / "run")
        return
    metrics = train(config, tmp_path / "run")
    assert set(metrics) == ({"bbox", "segm"} if config.model.masks else {"bbox"})


@pytest.mark.parametrize("name", FULL.values())
def test_every_configuration_builds_at_its_full_size(name):
    config = update(PRESETS[name], {"model": {"num_classes": 80}})
    with torch.device("meta"):
        model = build_model(config)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if name in PAPER:  # ResNet-50 on C4 alone is 25 M, the masks of fully connected layers are many
        assert 25 < millions < 210


def test_rows_differ_in_what_their_table_is_about():
    def between(first, second):
        return set(differences(PAPER[first].config, PAPER[second].config))

    assert between("table2b_softmax", "table2b_sigmoid") == {"model.mask_head.loss"}
    assert between("table2c_roi_warp_max", "table2c_roi_warp_mean") == {"model.pooling.reduction"}
    assert between("table2c_roi_pool", "table2c_roi_align_max") == {"model.pooling.operator"}
    assert between("table2a_r50_fpn", "table2a_r101_fpn") == {"model.backbone.blocks"}
    assert between("table2e_mlp_2", "table2e_mlp_3") == {"model.mask_head.fc"}
    assert between("table3_faster_r101_fpn", "table3_mask_r101_fpn") == {"model.masks"}
    assert between("table5_keypoint", "table5_keypoint_mask") == {"model.masks"}
    assert between("table8_original", "table8_updated") == {
        "model.box_head.nms_threshold",
        "train.iterations",
        "train.steps",
    }
    assert between("table8_x152", "table8_x152_non_local") == {"model.backbone.non_local"}
    assert between("table8_train_aug", "table8_x152") == {
        "model.backbone.blocks",
        "model.backbone.groups",
        "model.backbone.group_width",
    }


def test_the_paper_s_hyperparameters():
    """Section 3.1, Appendix B (NMS at 0.3 until the updated baseline), Figure 4."""
    fpn, c4 = PAPER["table2a_r50_fpn"].config, PAPER["table2a_r50_c4"].config
    assert fpn.model.box_head.nms_threshold == c4.model.box_head.nms_threshold == 0.3
    assert (fpn.model.box_head.rois_per_image, c4.model.box_head.rois_per_image) == (512, 64)
    assert (fpn.model.rpn.test_post_nms_top_n, c4.model.rpn.test_post_nms_top_n) == (1000, 300)
    assert (c4.model.box_head.pool_size, c4.model.backbone.res5_stride) == (7, 1)
    assert (fpn.train.iterations, fpn.train.steps, fpn.train.learning_rate) == (
        160000,
        (120000,),
        0.02,
    )
    assert fpn.train.batch_size == 16
    assert PAPER["table2a_x101_fpn"].config.train.batch_size == 8
    assert PAPER["table6_roi_align"].config.model.box_head.nms_threshold == 0.5


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", PRESETS)
def test_conventions_say_all_of_what_they_say_about(name, convention):
    """One after another gives the same as one alone: none leaves a trace of the one before."""
    once = apply_convention(PRESETS[name], convention)
    for other in CONVENTIONS:
        assert apply_convention(apply_convention(PRESETS[name], other), convention) == once


def test_the_default_configuration_follows_torchvision():
    assert load_config("mask_rcnn_r50_fpn_1x:torchvision") == PRESETS["mask_rcnn_r50_fpn_1x"]


def test_the_paper_s_rows_follow_the_paper():
    for name in ("table2a_r50_fpn", "table2a_r101_c4", "table2d_roi_align", "table1_x101_fpn"):
        assert load_config(f"{name}:paper") == PAPER[name].config


def test_detectron2_pools_aligned_and_learns_by_l1():
    config = load_config("table2a_r50_fpn:detectron2").model
    assert (config.pooling.aligned, config.pooling.sampling_ratio) == (True, 0)
    assert config.box_head.smooth_l1_beta == config.rpn.smooth_l1_beta == 0
    pool = load_config("table6_roi_pool:detectron2").model
    assert not pool.pooling.aligned  # RoIPool has no such thing
    with pytest.raises(ConfigError, match="convention must be one of"):
        load_config("table2a_r50_fpn:caffe")


def test_configs_list_show_diff():
    listed = call("configs", "list").output.splitlines()
    assert [line.split()[0] for line in listed] == list(PRESETS)
    (line,) = [line for line in listed if line.startswith("table2a_r50_fpn ")]
    assert "2a, R50-FPN: minival: mask AP 33.6 AP50 55.2 AP75 35.3" in line
    shown = call("configs", "show", "table8_x152_non_local_tta", "train.seed=7").output
    assert "# table 8, X152-NL TTA\n# minival: mask AP 41.8" in shown
    assert "# not yet: test-time augmentation\n" in shown
    assert "seed: 7" in shown
    assert (
        "# text, section 4.2, class-agnostic"
        in call("configs", "show", "text_class_agnostic").output
    )
    difference = call("configs", "diff", "table2a_r50_fpn", "table2a_r101_fpn").output
    assert difference == "model.backbone.blocks: [3, 4, 6, 3] -> [3, 4, 23, 3]\n"
    assert call("configs", "diff", "nuclei_demo", "nuclei_demo").output == "no difference\n"
    assert call("configs", "show", "table2").exit_code == 1


def test_the_switch_shrinks_any_training(discs, tmp_path):
    out = tmp_path / "run"
    result = call(
        "train", "--config", "table2a_r50_c4", "--reduced", "--data", f"coco:{discs}", "--out", out,
        "train.workers=0", "train.iterations=1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["iteration"] == 1
    expected = reduced(PRESETS["table2a_r50_c4"]).model.backbone
    assert load_checkpoint(out / "last.pt").config.model.backbone == expected
    refused = call("train", "--resume", "--reduced", "--out", out)
    assert refused.exit_code == 2
