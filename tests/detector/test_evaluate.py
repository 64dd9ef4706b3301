"""Average precision, its table and the results file."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from torch import nn

from detector.config import Config, InputConfig, TrainConfig
from detector.data import Category, open_dataset
from detector.evaluate import METRICS, average_precision, evaluate, print_table
from detector.results import encode_masks, in_image, to_coco
from detector.visualize import annotated

CONFIG = Config(input=InputConfig(short_edge=(200,), max_edge=400), train=TrainConfig(workers=0))
MASK_SIZE = 64


class Oracle(nn.Module):
    """A model that knows the annotations of a data set, in the order in which it is asked."""

    def __init__(self, dataset, keep=1.0):
        super().__init__()
        self.samples = iter([dataset[i] for i in range(len(dataset))])
        self.keep = keep
        self.asked = []

    def forward(self, images):
        (image,) = images
        assert not self.training
        self.asked.append(tuple(image.shape))
        sample = next(self.samples)
        height, width = sample.image.shape[:2]
        single = np.flatnonzero(~sample.crowd)
        single = single[: round(self.keep * len(single))]
        boxes = sample.boxes[single]
        masks = np.zeros((len(single), MASK_SIZE, MASK_SIZE), np.float32)
        for i, (x1, y1, x2, y2) in zip(range(len(single)), boxes, strict=True):
            ys = (y1 + (np.arange(MASK_SIZE) + 0.5) / MASK_SIZE * (y2 - y1)).astype(int)
            xs = (x1 + (np.arange(MASK_SIZE) + 0.5) / MASK_SIZE * (x2 - x1)).astype(int)
            ys, xs = np.minimum(ys, height - 1), np.minimum(xs, width - 1)
            masks[i] = sample.masks[single[i]][ys[:, None], xs]
        ratio = np.array([image.shape[2] / width, image.shape[1] / height] * 2, np.float32)
        return [
            {
                "boxes": torch.from_numpy(boxes * ratio),
                "labels": torch.from_numpy(sample.labels[single]),
                "scores": torch.linspace(1, 0.5, len(single)),
                "masks": torch.from_numpy(masks),
            }
        ]


@pytest.fixture(params=["coco", "fruits", "nuclei"])
def real(request, coco_data, fruits_data):
    specs = {"coco": f"coco:{coco_data}", "fruits": f"coco:{fruits_data}", "nuclei": "nuclei"}
    return open_dataset(specs[request.param], "val")


def perfect_results(dataset):
    results = []
    for i in range(len(dataset)):
        sample = dataset[i]
        found = annotated(sample)
        found["scores"] *= np.float32(0.9)
        results += to_coco(found, sample.image_id, dataset.categories)
    return results


def test_the_annotations_themselves_score_one_hundred(real):
    metrics = average_precision(real, perfect_results(real))
    assert set(metrics) == {"bbox", "segm"}
    for kind in metrics.values():
        assert tuple(kind) == METRICS
        assert all(value == pytest.approx(100) or value == -1 for value in kind.values())


def test_a_model_that_knows_the_answers(real):
    model = Oracle(real).train()
    done = []
    metrics = evaluate(model, real, CONFIG, "cpu", progress=lambda *args: done.append(args))
    assert metrics["bbox"]["AP"] == pytest.approx(100)
    assert metrics["segm"]["AP75"] > 97
    assert metrics["segm"]["AP"] > 90
    assert model.training
    assert done == [(i, len(real)) for i in range(1, len(real) + 1)]
    assert {shape[0] for shape in model.asked} == {3}


def test_objects_that_are_not_found_cost_recall(fruits_data):
    dataset = open_dataset(f"coco:{fruits_data}", "val")
    metrics = evaluate(Oracle(dataset, keep=0.5), dataset, CONFIG, "cpu")
    assert 10 < metrics["bbox"]["AP"] < 90


def test_no_predictions_score_zero(real, capsys):
    metrics = evaluate(Oracle(real, keep=0), real, CONFIG, "cpu")
    for kind in metrics.values():
        assert kind["AP"] == kind["AP50"] == kind["AP75"] == 0
        assert all(value in (0, -1) for value in kind.values())
    assert capsys.readouterr().out == ""


def test_a_size_that_does_not_occur_is_minus_one(fruits_data):
    dataset = open_dataset(f"coco:{fruits_data}", "val")
    metrics = average_precision(dataset, perfect_results(dataset))
    assert metrics["segm"]["APs"] == -1
    assert metrics["segm"]["APm"] == pytest.approx(100)


def test_crowds_are_neither_required_nor_wrong(coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    results = perfect_results(dataset)
    crowds = [i for i in range(len(dataset)) if dataset[i].crowd.any()]
    assert crowds
    sample = dataset[crowds[0]]
    region = sample.masks[sample.crowd][:1]
    within = {
        "boxes": sample.boxes[sample.crowd][:1],
        "labels": sample.labels[sample.crowd][:1],
        "scores": np.ones(1, np.float32),
        "masks": encode_masks(region),
    }
    extra = to_coco(within, sample.image_id, dataset.categories)
    with_crowd = average_precision(dataset, results + extra)
    assert with_crowd["segm"]["AP"] == pytest.approx(100)
    # The same detection where there is no crowd is a mistake.
    others = [i for i in range(len(dataset)) if i not in crowds]
    elsewhere = dataset[others[0]]
    blank = np.zeros((1, *elsewhere.image.shape[:2]), np.uint8)
    blank[:, :50, :50] = 1
    label = elsewhere.labels[0]
    wrong = within | {"masks": encode_masks(blank), "labels": np.array([label])}
    extra = to_coco(wrong, elsewhere.image_id, dataset.categories)
    assert average_precision(dataset, results + extra)["segm"]["AP"] < 99.5


def test_the_size_of_a_mask_is_not_that_of_its_box(fruits_data):
    dataset = open_dataset(f"coco:{fruits_data}", "val")
    sample = dataset[0]
    thin = np.zeros((1, *sample.image.shape[:2]), np.uint8)
    thin[0, 10:210, 10:14] = thin[0, 206:210, 10:210] = 1
    wrong = {
        "boxes": np.array([[10, 10, 210, 210]], np.float32),
        "labels": sample.labels[:1],
        "scores": np.ones(1, np.float32),
        "masks": encode_masks(thin),
    }
    extra = to_coco(wrong, sample.image_id, dataset.categories)
    metrics = average_precision(dataset, perfect_results(dataset) + extra)
    # 1584 pixels: a wrong mask of medium size, in a wrong box that is large.
    assert metrics["segm"]["APm"] < 99
    assert metrics["bbox"]["APm"] == pytest.approx(100)


def test_the_results_file_is_cocos(real, tmp_path):
    path = tmp_path / "results.json"
    metrics = evaluate(Oracle(real), real, CONFIG, "cpu", path)
    results = json.loads(path.read_text())
    ids = {category.id for category in real.categories}
    for result in results:
        assert result["category_id"] in ids
        assert isinstance(result["segmentation"]["counts"], str)
        assert len(result["bbox"]) == 4
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(real.annotation_file))
        for kind in ("bbox", "segm"):
            chosen = [
                {k: v for k, v in r.items() if kind == "bbox" or k != "bbox"} for r in results
            ]
            evaluation = COCOeval(truth, truth.loadRes(chosen), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            expected = np.where(evaluation.stats[:6] < 0, -1, evaluation.stats[:6] * 100)
            ours = [metrics[kind][metric] for metric in METRICS]
            np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_results_are_in_pixels_of_the_original_image(coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    sample = dataset[0]
    model = Oracle(dataset).eval()
    input_size, image_size = (200, 301), sample.image.shape[:2]
    (detections,) = model([torch.zeros(3, *input_size)])
    found = in_image(detections, input_size, image_size)
    single = ~sample.crowd
    np.testing.assert_allclose(found["boxes"], sample.boxes[single], rtol=1e-4, atol=1e-3)
    for rle, mask in zip(found["masks"], sample.masks[single], strict=True):
        assert rle["size"] == list(image_size)
        if mask.sum() > 2000:
            pasted = coco_mask.decode(rle)
            assert (pasted & mask).sum() / (pasted | mask).sum() > 0.85


def test_keypoints_are_in_pixels_of_the_original_image():
    detections = {
        "boxes": torch.tensor([[10.0, 20, 30, 60]]),
        "labels": torch.tensor([1]),
        "scores": torch.tensor([0.9]),
        "keypoints": torch.tensor([[[10.0, 20, 7], [30, 60, -2]]]),
    }
    found = in_image(detections, (100, 200), (50, 400))
    np.testing.assert_allclose(found["boxes"], [[20, 10, 60, 30]])
    np.testing.assert_allclose(found["keypoints"], [[[20, 10, 7], [60, 30, -2]]])
    (entry,) = to_coco(found, 5, (Category(3, "person"),))
    assert entry["keypoints"] == [20, 10, 1, 60, 30, 1]
    assert "segmentation" not in entry


def test_many_masks_are_pasted_in_parts(monkeypatch, coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    (detections,) = Oracle(dataset).eval()([torch.zeros(3, 200, 301)])
    whole = in_image(detections, (200, 301), (425, 640))
    monkeypatch.setattr("detector.results.MASK_BUDGET", 3 * 425 * 640)
    assert in_image(detections, (200, 301), (425, 640))["masks"] == whole["masks"]


def test_detections_below_the_threshold_are_left_out(coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    (detections,) = Oracle(dataset).eval()([torch.zeros(3, 200, 301)])
    found = in_image(detections, (200, 301), (425, 640), score_threshold=0.75)
    assert 0 < len(found["scores"]) < len(detections["scores"])
    assert found["scores"].min() >= 0.75
    assert len(found["masks"]) == len(found["boxes"]) == len(found["scores"])


def test_encoding_is_pycocotools():
    masks = np.random.default_rng(0).random((5, 17, 23)) < 0.5
    for rle, mask in zip(encode_masks(masks), masks, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(rle), mask)
    assert encode_masks(masks[:0]) == []


@pytest.mark.parametrize("leave_out", ["area", "iscrowd"])
def test_optional_keys_may_be_missing(leave_out, make_dataset, square):
    del square[leave_out]
    dataset = make_dataset([square])
    metrics = average_precision(dataset, perfect_results(dataset))
    assert metrics["segm"]["APs"] == pytest.approx(100)


def test_an_annotation_of_id_zero_counts(make_dataset, square):
    dataset = make_dataset([square | {"id": 0}])
    assert average_precision(dataset, perfect_results(dataset))["bbox"]["AP"] == pytest.approx(100)


def test_the_table():
    values = dict(zip(METRICS, (12.34, 50, 7, -1, 0, 100), strict=True))
    stream = io.StringIO()
    print_table({"bbox": values, "segm": values}, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    (masks,) = [line for line in lines if "masks" in line]
    cells = [cell.strip() for cell in masks.strip("│").split("│")]
    assert cells == ["masks", "12.3", "50.0", "7.0", "\N{EN DASH}", "0.0", "100.0"]
    assert any("AP75" in line and "small" in line for line in lines)
