"""Pictures: what is drawn, where, and what is left alone."""

import numpy as np
import pytest
from PIL import Image

from detector.data import Category, Sample, open_dataset
from detector.results import encode_masks
from detector.visualize import CROWD, UNMATCHED, annotated, draw, instance_colours, overview

ONE = (Category(1, "nucleus"),)
THREE = (Category(1, "date"), Category(2, "fig"), Category(3, "hazelnut"))


def detections(boxes, size, labels=None, scores=None):
    """Objects that fill their boxes."""
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.ones(len(boxes), np.int64) if labels is None else np.array(labels),
        "scores": np.full(len(boxes), 0.8, np.float32) if scores is None else np.array(scores),
        "masks": encode_masks(masks),
    }


def picture_of(image, found, categories=THREE, **options):
    return np.asarray(draw(image, found, categories, **options)).astype(int)


GREY = np.full((100, 150, 3), 100, np.uint8)


def test_only_the_object_and_its_label_change_the_picture():
    before = picture_of(GREY, detections([], (100, 150)))
    after = picture_of(GREY, detections([[40, 50, 90, 80]], (100, 150)))
    zoom = after.shape[0] // 100
    changed = (before != after).any(axis=2)
    assert changed[51 * zoom : 79 * zoom, 41 * zoom : 89 * zoom].all()
    changed[50 * zoom - 40 : 80 * zoom + 2, 40 * zoom - 2 : 90 * zoom + 2] = False
    assert not changed.any()
    # The label stands above the box.
    assert (before != after)[50 * zoom - 20 : 50 * zoom, 42 * zoom : 60 * zoom].any()


def test_masks_are_translucent_and_contours_are_not():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 300, 3), np.uint8)
    found = detections([[50, 60, 150, 140]], (200, 300))
    colour = instance_colours(found["labels"], 3)[0]
    picture = picture_of(image, found, label="none", longer_side=300)
    inside, plain = picture[80:120, 70:130], image[80:120, 70:130].astype(int)
    share = 0.42
    np.testing.assert_allclose(inside, plain * (1 - share) + np.array(colour) * share, atol=3)
    np.testing.assert_array_equal(picture[60, 80:120], np.broadcast_to(colour, (40, 3)))
    assert (picture[:55] == image[:55]).all()


def test_boxes_and_keypoints_are_drawn_without_masks():
    found = detections([[50, 60, 150, 140]], (200, 300))
    del found["masks"]
    found["keypoints"] = np.array([[[100, 100, 3]]], np.float32)
    colour = instance_colours(found["labels"], 3)[0]
    image = np.zeros((200, 300, 3), np.uint8)
    picture = picture_of(image, found, label="none", longer_side=300)
    np.testing.assert_array_equal(picture[60, 60:140], np.broadcast_to(colour, (80, 3)))
    np.testing.assert_array_equal(picture[100, 100], colour)
    assert not picture[70:95, 55:145].any()


def test_small_images_are_enlarged_and_large_ones_kept():
    for size, expected in (((256, 256), (1024, 1024)), ((480, 640), (960, 1280)),
                           ((1200, 1600), (1200, 1600)), ((1, 7), (143, 1001))):  # fmt: skip
        picture = draw(np.zeros((*size, 3), np.uint8), detections([], size), THREE)
        assert (picture.height, picture.width) == expected
    small = draw(GREY, detections([], (100, 150)), THREE, longer_side=480)
    assert small.size == (480, 320)


def test_labels_stay_within_the_picture():
    size = (100, 150)
    corners = [[0, 0, 4, 8], [146, 0, 150, 8], [0, 92, 4, 100], [146, 92, 150, 100]]
    for box in corners:
        found = detections([box], size)
        with_label = picture_of(GREY, found)
        without = picture_of(GREY, found, label="none")
        colour = np.array(instance_colours(found["labels"], 3)[0])
        label = (with_label == colour).all(axis=2) & ~(without == colour).all(axis=2)
        assert label.sum() > 800  # a background box, whole


def test_scores_can_be_left_out():
    found = detections([[40, 50, 90, 80]], (100, 150))
    full, name = picture_of(GREY, found), picture_of(GREY, found, label="name")
    assert (full != name).any()
    found["scores"][:] = 0.1
    np.testing.assert_array_equal(picture_of(GREY, found, label="name"), name)


def grid(count, size):
    columns = int(np.ceil(np.sqrt(count)))
    step = size[0] // columns
    return [
        [x * step + 2, y * step + 2, x * step + step // 2, y * step + step // 2]
        for y, x in (divmod(i, columns) for i in range(count))
    ]


def test_a_crowd_of_one_class_has_no_labels():
    size = (256, 256)
    image = np.zeros((*size, 3), np.uint8)
    few, many = detections(grid(CROWD, size), size), detections(grid(CROWD + 1, size), size)
    assert (picture_of(image, few, ONE) != picture_of(image, few, ONE, label="none")).any()
    np.testing.assert_array_equal(
        picture_of(image, many, ONE), picture_of(image, many, ONE, label="none")
    )


def test_a_label_that_would_hide_objects_is_left_out():
    def has_label(small):
        boxes, count = [[30, 10, 70, 50], *small], len(small)
        found = detections(boxes, (60, 100), [1] + [2] * count, [0.9] + [0.5] * count)
        picture = picture_of(np.zeros((60, 100, 3), np.uint8), found)
        colour = instance_colours(found["labels"], 3)[0]
        solid = (picture == colour).all(axis=2)
        # Outlines and contours are thinner than this.
        return np.lib.stride_tricks.sliding_window_view(solid, (3, 12)).all(axis=(2, 3)).any()

    assert has_label([])
    # Every place for the large object's label holds one of the small ones.
    columns = (30, 36, 56, 66)
    assert not has_label([[x, y, x + 3, y + 3] for x in columns for y in range(0, 60, 4)])


def test_small_objects_are_drawn_over_large_ones():
    size = (100, 150)
    found = detections([[60, 40, 70, 50], [20, 20, 120, 90]], size, labels=[1, 2])
    picture = picture_of(GREY, found, label="none")
    zoom = picture.shape[0] // 100
    colours = instance_colours(found["labels"], 3)
    np.testing.assert_array_equal(picture[40 * zoom, 65 * zoom], colours[0])


def test_colours_are_stable_distinct_and_bright_enough():
    labels = np.ones(30, np.int64)
    colours = instance_colours(labels, 1)
    assert colours == instance_colours(labels, 1)
    assert len(set(colours)) == 30
    classes = instance_colours(np.arange(1, 81), 80)
    assert len(set(classes)) == 80
    assert instance_colours(np.array([5, 3]), 80)[1] == classes[2]
    for colour in colours + classes:
        assert np.dot(colour, (0.299, 0.587, 0.114)) > 100
        assert np.abs(np.array(colour) - UNMATCHED).max() > 20


def test_an_object_beyond_the_image_or_without_pixels_is_no_error():
    found = detections([[0, 0, 0, 0], [140, 90, 150, 100]], (100, 150))
    found["boxes"][1] = [140, 90, 170, 130]
    draw(GREY, found, THREE)


def test_annotations_as_detections_leave_crowds_out(coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    samples = [dataset[i] for i in range(len(dataset))]
    assert any(sample.crowd.any() for sample in samples)
    for sample in samples:
        found = annotated(sample)
        assert len(found["labels"]) == (~sample.crowd).sum()
        assert (found["scores"] == 1).all()


def sample_of(found, size):
    return Sample(
        np.zeros((*size, 3), np.uint8),
        found["boxes"],
        found["labels"],
        np.stack([_mask(box, size) for box in found["boxes"].astype(int)]),
        np.zeros(len(found["labels"]), bool),
        1,
        "a.png",
    )


def _mask(box, size):
    mask = np.zeros(size, np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


def test_an_overview_gives_matches_one_colour_and_mistakes_red(tmp_path):
    size = (100, 100)
    truth = detections([[10, 10, 40, 40], [60, 60, 90, 90]], size)
    found = detections(
        [[11, 10, 40, 41], [10, 60, 40, 90], [12, 10, 42, 40]], size, scores=[0.9, 0.8, 0.7]
    )
    path = tmp_path / "overview.png"
    overview([sample_of(truth, size)], [found], ONE, path, panel=400)
    with Image.open(path) as file:
        sheet = np.asarray(file.convert("RGB"))
    match, missed = instance_colours(truth["labels"], 1)

    def columns_of(colour):
        return np.flatnonzero((sheet == colour).all(axis=2).any(axis=0))

    middle = sheet.shape[1] / 2
    assert (columns_of(match) < middle).any()
    assert (columns_of(match) > middle).any()
    assert (columns_of(missed) < middle).all()
    # One prediction overlaps nothing, one doubles an object that has a surer one.
    assert (columns_of(UNMATCHED) > middle).all()
    red = (sheet == UNMATCHED).all(axis=2)
    rows = np.flatnonzero(red.any(axis=1))
    assert rows[-1] - rows[0] > 200


@pytest.mark.parametrize("count", [1, 3])
def test_an_overview_of_real_images(count, coco_data, tmp_path):
    dataset = open_dataset(f"coco:{coco_data}", "val")
    samples = [dataset[i] for i in range(count)]
    nothing = detections([], (1, 1))
    path = tmp_path / "overview.jpg"
    overview(samples, [annotated(samples[0])] + [nothing] * (count - 1), dataset.categories, path)
    assert 20_000 < path.stat().st_size < 1_500_000
    with Image.open(path) as sheet:
        assert sheet.width == (2 if count > 1 else 1) * 966 + 24 * (3 if count > 1 else 2)
        assert sheet.height > 350 * -(-count // 2)
