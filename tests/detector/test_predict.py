"""Prediction on image files: pictures, a COCO file, and what happens to bad files."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import nn

from detector.config import InputConfig
from detector.data import Category, DataError
from detector.predict import detect, find_images, predict

CONFIG = InputConfig(short_edge=(48,), max_edge=96)
CATEGORIES = (Category(7, "date"), Category(40, "fig"))


class Fixed(nn.Module):
    """Finds a fig in the left half of every image, surely, and a date on the right, hardly."""

    def forward(self, images):
        (image,) = images
        height, width = image.shape[1:]
        return [
            {
                "boxes": torch.tensor(
                    [[0, 0, width / 2, height], [width / 2, 0, width, height]]
                ).float(),
                "labels": torch.tensor([2, 1]),
                "scores": torch.tensor([0.9, 0.3]),
                "masks": torch.ones(2, 14, 14),
            }
        ]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("b.png", (60, 40)), ("a.jpg", (30, 50))):
        Image.new("RGB", size, (90, 60, 30)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def run(paths, tmp_path, **options):
    return predict(Fixed(), paths, tmp_path / "out", CONFIG, CATEGORIES, "cpu", **options)


def test_folders_and_files_are_taken(images, tmp_path):
    done = []
    result = run([images, images / "b.png"], tmp_path, progress=lambda *args: done.append(args))
    assert [path.name for path in result.pictures] == [
        "a.detections.jpg",
        "b.detections.jpg",
        "b-2.detections.jpg",
    ]
    assert result.objects == [1, 1, 1]
    assert result.failed == []
    assert done == [(1, 3), (2, 3), (3, 3)]
    for path in result.pictures:
        with Image.open(path) as picture:
            assert max(picture.size) >= 1000


def test_detections_are_scaled_to_the_image():
    found = detect(Fixed(), np.zeros((40, 60, 3), np.uint8), CONFIG, "cpu")
    np.testing.assert_allclose(found["boxes"], [[0, 0, 30, 40]])
    assert found["labels"].tolist() == [2]
    assert found["masks"][0]["size"] == [40, 60]
    assert len(detect(Fixed(), np.zeros((40, 60, 3), np.uint8), CONFIG, "cpu", 0.2)["labels"]) == 2


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode(training):
    model = Fixed().train(training)
    detect(model, np.zeros((40, 60, 3), np.uint8), CONFIG, "cpu")
    assert model.training is training


def test_the_json_file_is_cocos(images, tmp_path):
    path = tmp_path / "found.json"
    run([images], tmp_path, json_path=path, score_threshold=0.1)
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert {image["file_name"] for image in coco.dataset["images"]} == {
        str(images / "a.jpg"),
        str(images / "b.png"),
    }
    assert [(c["id"], c["name"]) for c in coco.dataset["categories"]] == [(7, "date"), (40, "fig")]
    for image in coco.dataset["images"]:
        fig, date = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert fig["category_id"] == 40
        assert date["category_id"] == 7
        assert fig["score"] == pytest.approx(0.9)
        assert fig["bbox"] == pytest.approx([0, 0, image["width"] / 2, image["height"]])
        mask = coco.annToMask(fig)
        assert mask.shape == (image["height"], image["width"])
        assert mask[:, : image["width"] // 2].mean() > 0.98
        assert fig["area"] == mask.sum()
    assert json.loads(path.read_text())["annotations"][0]["iscrowd"] == 0


def test_boxes_and_keypoints_without_masks(images, tmp_path):
    class Points(Fixed):
        def forward(self, images):
            (found,) = super().forward(images)
            found.pop("masks")
            return [found | {"keypoints": found["boxes"][:, None, :3].repeat(1, 3, 1)}]

    path = tmp_path / "found.json"
    result = predict(
        Points(), [images], tmp_path / "out", CONFIG, CATEGORIES, "cpu", json_path=path
    )
    assert result.objects == [1, 1]
    annotation = json.loads(path.read_text())["annotations"][0]
    assert annotation["area"] == pytest.approx(30 * 50 / 2)
    assert len(annotation["keypoints"]) == 9
    assert "segmentation" not in annotation


def test_an_unreadable_file_is_named_and_stops_nothing(images, tmp_path):
    (images / "aa.png").write_bytes(b"\x89PNG nothing")
    result = run([images / "notes.txt", images], tmp_path)
    assert [path.name for path in result.pictures] == ["a.detections.jpg", "b.detections.jpg"]
    assert len(result.failed) == 2
    for error, name in zip(result.failed, ("notes.txt", "aa.png"), strict=True):
        assert isinstance(error, DataError)
        assert f"{images / name}: cannot read the image" in str(error)


def test_a_picture_that_cannot_be_written_is_named_and_stops_nothing(images, tmp_path):
    Image.new("L", (70_000, 2)).save(images / "aa.png")  # longer than a JPEG can be
    result = run([images], tmp_path)
    assert [path.name for path in result.pictures] == ["a.detections.jpg", "b.detections.jpg"]
    assert len(result.objects) == 2
    (error,) = result.failed
    assert f"{images / 'aa.png'}: its picture cannot be written" in str(error)
    assert not list(tmp_path.glob("**/aa.detections.jpg"))


def test_paths_that_hold_no_image(images, tmp_path):
    with pytest.raises(DataError, match=r"none\.png: no such file or folder"):
        run([images, tmp_path / "none.png"], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image file in this folder"):
        find_images([tmp_path / "empty"])


def test_pictures_of_a_phone_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    path = tmp_path / "found.json"
    run([tmp_path / "a.jpg"], tmp_path, json_path=path)
    (image,) = json.loads(path.read_text())["images"]
    assert (image["width"], image["height"]) == (40, 60)


def test_nothing_found_is_a_picture_too(images, tmp_path):
    result = run([images / "a.jpg"], tmp_path, score_threshold=0.95)
    assert result.objects == [0]
    assert result.pictures[0].is_file()
