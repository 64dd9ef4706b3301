"""Images and targets on their way into the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detector.config import AugmentConfig, InputConfig
from detector.data import Sample, open_dataset
from detector.data.transforms import (
    Geometry,
    augment,
    change_values,
    draw_geometry,
    fit_to_window,
    intensities,
    network_size,
    prepare,
)

RGB = InputConfig()
GREY = InputConfig(channels="grey_stretched", mean=(0.25,), std=(0.25,), short_edge=None, scale=2.0)
UNCHANGED = AugmentConfig(flip=False)
EVERYTHING = AugmentConfig(
    vertical_flip=True, rotate90=True, scale_jitter=1.5, crop=40, gamma=1.5, brightness=0.2,
    noise=0.1,
)  # fmt: skip


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sample_of(image, boxes, masks, crowd=None, labels=None):
    count = len(boxes)
    return Sample(
        image,
        np.array(boxes, np.float32).reshape(count, 4),
        np.ones(count, np.int64) if labels is None else np.array(labels),
        np.array(masks, np.uint8).reshape(count, *image.shape[:2]),
        np.zeros(count, bool) if crowd is None else np.array(crowd),
        5,
        "a.png",
    )


def rectangles(height, width, boxes):
    masks = np.zeros((len(boxes), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return masks


def extents(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.fixture
def one_thread():
    """The last bits of torch's resizing depend on the number of threads; ours has one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("size", [(480, 640), (640, 427), (300, 1200), (1080, 1920), (97, 61)])
@pytest.mark.parametrize("edges", [(800, 1333), (64, 100)])
def test_inputs_are_torchvisions_to_the_bit(size, edges):
    image = random_image(*size)
    config = replace(RGB, short_edge=(edges[0],), max_edge=edges[1])
    theirs = GeneralizedRCNNTransform(*edges, list(RGB.mean), list(RGB.std)).eval()
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    expected, _ = theirs.resize(theirs.normalize(tensor))
    result = prepare(image, config)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_bit(threads):
    image = random_image(333, 427)
    expected = prepare(image, RGB)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(prepare(image, RGB), expected)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_sides_are_rounded_down_as_the_reference_does():
    assert network_size(480, 640, RGB) == (800, 1066)
    assert network_size(1080, 1920, RGB) == (749, 1333)
    assert network_size(100, 75, GREY) == (200, 150)
    assert network_size(1, 400, replace(RGB, short_edge=(10,), max_edge=100)) == (1, 100)


@pytest.mark.parametrize("name", ["coco", "fruits"])
def test_targets_are_torchvisions_to_the_bit(name, coco_data, fruits_data):
    root = {"coco": coco_data, "fruits": fruits_data}[name]
    config = replace(RGB, short_edge=(333,), max_edge=500)
    theirs = GeneralizedRCNNTransform(333, 500, list(RGB.mean), list(RGB.std)).train()
    dataset = open_dataset(f"coco:{root}", "train")
    for i in range(len(dataset)):
        sample = dataset[i]
        single = ~sample.crowd
        boxes, masks = sample.boxes[single], np.ascontiguousarray(sample.masks[single])
        _, expected = theirs.resize(
            torch.from_numpy(sample.image).permute(2, 0, 1).float(),
            {"boxes": torch.from_numpy(boxes), "masks": torch.from_numpy(masks)},
        )
        _, targets = augment(sample, config, UNCHANGED, np.random.default_rng(0))
        assert torch.equal(targets["boxes"], expected["boxes"])
        assert torch.equal(targets["masks"], expected["masks"])
        assert targets["labels"].tolist() == sample.labels[single].tolist()
        assert int(targets["image_id"]) == sample.image_id


def test_without_changes_training_sees_what_testing_sees():
    sample = sample_of(random_image(40, 30), [[2, 3, 20, 30]], rectangles(40, 30, [[2, 3, 20, 30]]))
    for config in (GREY, replace(RGB, short_edge=(64,), max_edge=200)):
        image, _ = augment(sample, config, UNCHANGED, np.random.default_rng(0))
        assert torch.equal(image, prepare(sample.image, config))


def test_all_short_edges_are_drawn_and_the_last_is_for_testing():
    config = replace(RGB, short_edge=(40, 50, 60), max_edge=1000)
    sample = sample_of(random_image(20, 30), [], [])
    seen = set()
    for seed in range(40):
        image, _ = augment(sample, config, UNCHANGED, np.random.default_rng(seed))
        seen.add(image.shape[1])
    assert seen == {40, 50, 60}
    assert prepare(sample.image, config).shape[1:] == (60, 90)


def test_grey_levels_are_stretched_between_percentiles_of_the_whole_image():
    rng = np.random.default_rng(0)
    grey = rng.normal(60, 12, (120, 100)).clip(0, 255).astype(np.uint8)
    grey[:5, :5] = 255
    values = intensities(np.repeat(grey[..., None], 3, axis=2), GREY)[0]
    assert values.dtype == np.float32
    low, high = np.percentile(grey, (1, 99.8))
    expected = ((grey - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert values.min() == 0
    assert values.max() == 1


@given(st.integers(0, 10_000), st.floats(0.05, 0.4))
def test_dark_objects_on_light_ground_look_like_light_ones_on_dark(seed, share):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((30, 40, 1)) < share, 200, 90) + rng.integers(-20, 20, (30, 40, 1))
    image = np.repeat(image, 3, axis=2).astype(np.uint8)
    values = intensities(image, GREY)
    np.testing.assert_allclose(values, intensities(255 - image, GREY), atol=1e-4)
    assert np.median(values) < 0.5


def test_a_stained_image_of_middle_brightness_is_inverted():
    # Its median, 120, is in the dark half of 0..255 but in the light half of the image's range.
    image = np.full((40, 40, 3), 120, np.uint8)
    image[:10, :20] = 40
    image[-1] = 130
    assert intensities(image, GREY)[0, 0, 0] > 0.9
    assert intensities(image, GREY)[0, 30, 30] < 0.2


@pytest.mark.parametrize("level", [0, 127, 128, 255])
def test_an_image_of_one_colour_gives_finite_values(level):
    image = np.full((8, 8, 3), level, np.uint8)
    for config in (GREY, RGB):
        assert torch.isfinite(prepare(image, config)).all()


def test_changed_values_stay_in_range_and_change():
    values = np.random.default_rng(0).random((1, 50, 60), np.float32)
    changed = change_values(values, EVERYTHING, np.random.default_rng(1))
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert np.abs(changed - values).mean() > 0.01
    np.testing.assert_array_equal(change_values(values, AugmentConfig(), None), values)


GEOMETRIES = st.builds(
    lambda size, window, place, **flags: Geometry(
        size,
        round(place[0] * (size[0] - min(window[0], size[0]))),
        round(place[1] * (size[1] - min(window[1], size[1]))),
        min(window[0], size[0]),
        min(window[1], size[1]),
        **flags,
    ),
    size=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    window=st.tuples(st.integers(8, 120), st.integers(8, 120)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    mirror=st.booleans(),
    flip=st.booleans(),
    quarter_turns=st.integers(0, 3),
    centred=st.booleans(),
)


@given(
    GEOMETRIES,
    st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(4, 20), st.integers(4, 15)),
)
def test_boxes_and_masks_are_moved_alike(geometry, rectangle):
    height, width = 40, 50
    x, y, w, h = rectangle
    box = [x, y, min(x + w, width), min(y + h, height)]
    masks = geometry.masks(rectangles(height, width, [box]))
    boxes = geometry.boxes(np.array([box], np.float32), height, width)
    window = geometry.image(torch.zeros(1, height, width)).shape[1:]
    assert masks.shape[1:] == window
    fitted, visible = fit_to_window(boxes, masks)
    if not masks.any():
        limits = [window[1], window[0]] * 2
        clipped = np.clip(boxes[0], 0, limits)
        # At most a sliver that no pixel centre lies in.
        assert min(clipped[2:] - clipped[:2]) <= max(geometry.size[0] / 40, geometry.size[1] / 50)
        return
    limit = 0.501 if geometry.centred else 1.001
    assert np.abs(extents(masks[0]) - fitted[0]).max() <= limit
    assert (fitted >= 0).all()
    assert (fitted[:, 2:] <= [window[1], window[0]]).all()
    if visible[0]:
        assert geometry.sees(np.array([box], np.float32), height, width)[0]


@given(GEOMETRIES, st.integers(0, 1000))
def test_the_image_is_moved_as_the_masks_are(geometry, seed):
    # Blocks of 10 x 10 pixels: inside them bilinear and nearest sampling agree.
    geometry = replace(geometry, centred=True)
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 2, (4, 5)), np.ones((10, 10), int)).astype(np.uint8)
    image = geometry.image(torch.from_numpy(blocks[None].astype(np.float32)))[0].numpy()
    mask = geometry.masks(blocks[None])[0]
    certain = (image <= 1e-6) | (image >= 1 - 1e-6)
    assert certain.mean() > 0.3
    np.testing.assert_array_equal(image[certain].round(), mask[certain])


def test_turns_and_mirrors_move_pixels_exactly():
    image = torch.arange(12.0).reshape(1, 3, 4)
    assert torch.equal(
        Geometry((3, 4), 0, 0, 3, 4, quarter_turns=1).image(image), torch.rot90(image, 1, (1, 2))
    )
    assert torch.equal(Geometry((3, 4), 0, 0, 3, 4, mirror=True).image(image), image.flip(2))
    assert torch.equal(Geometry((3, 4), 0, 0, 3, 4, flip=True).image(image), image.flip(1))
    assert torch.equal(Geometry((3, 4), 1, 2, 2, 2).image(image), image[:, 1:, 2:])


def test_random_geometry_follows_its_limits():
    turns, mirrors, flips, zooms = set(), set(), set(), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(60, 50, GREY, EVERYTHING, rng)
        assert (geometry.height, geometry.width) == (40, 40)
        assert 0 <= geometry.top <= geometry.size[0] - 40
        assert 0 <= geometry.left <= geometry.size[1] - 40
        turns.add(geometry.quarter_turns)
        mirrors.add(geometry.mirror)
        flips.add(geometry.flip)
        zooms.append(geometry.size[0] / 120)
    assert turns == {0, 1, 2, 3}
    assert mirrors == flips == {False, True}
    assert min(zooms) < 0.75
    assert max(zooms) > 1.35
    assert min(zooms) >= 1 / 1.5 - 0.02
    assert max(zooms) <= 1.5


def test_a_crop_larger_than_the_image_takes_all_of_it():
    geometry = draw_geometry(30, 10, GREY, AugmentConfig(crop=50), np.random.default_rng(0))
    assert (geometry.top, geometry.height, geometry.left, geometry.width) == (
        geometry.top, 50, 0, 20,
    )  # fmt: skip


def test_crowds_are_no_targets():
    boxes = [[2, 3, 20, 30], [0, 0, 30, 40]]
    sample = sample_of(
        random_image(40, 30), boxes, rectangles(40, 30, boxes), [False, True], [3, 4]
    )
    _, targets = augment(sample, GREY, UNCHANGED, np.random.default_rng(0))
    assert targets["labels"].tolist() == [3]
    assert len(targets["boxes"]) == len(targets["masks"]) == 1


def test_a_cut_object_has_the_box_of_what_is_seen():
    # An L: its left arm ends above the window, so the box of what is left starts further right.
    mask = np.zeros((40, 40), np.uint8)
    mask[0:20, 5:10] = 1
    mask[20:30, 5:35] = 1
    whole, gone = np.array([[5, 0, 35, 30]], np.float32), np.array([[30, 0, 34, 9]], np.float32)
    geometry = Geometry((40, 40), 22, 8, 18, 32)
    masks = geometry.masks(np.stack([mask, rectangles(40, 40, [[30, 0, 34, 9]])[0]]))
    boxes = geometry.boxes(np.concatenate([whole, gone]), 40, 40)
    fitted, visible = fit_to_window(boxes, masks)
    assert visible.tolist() == [True, False]
    np.testing.assert_array_equal(fitted[0], [0, 0, 27, 8])
    assert geometry.sees(whole, 40, 40).tolist() == [True]
    assert geometry.sees(gone, 40, 40).tolist() == [False]


def test_an_image_without_objects_is_a_negative():
    sample = sample_of(random_image(50, 60), [], [])
    image, targets = augment(sample, GREY, EVERYTHING, np.random.default_rng(0))
    assert image.shape == (1, 40, 40)
    assert targets["boxes"].shape == (0, 4)
    assert targets["labels"].shape == (0,)
    assert targets["masks"].shape == (0, 40, 40)


def test_augmented_targets_of_real_images_are_usable(coco_data):
    dataset = open_dataset(f"coco:{coco_data}", "train")
    config = replace(EVERYTHING, crop=200)
    kept = 0
    for i in range(len(dataset)):
        for seed in range(6):
            image, targets = augment(dataset[i], RGB, config, np.random.default_rng(seed))
            boxes = targets["boxes"]
            height, width = image.shape[1:]
            assert (height, width) == (200, 200)
            assert targets["masks"].shape == (len(boxes), height, width)
            assert boxes.dtype == torch.float32
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes >= 0).all()
            assert (boxes <= 200).all()
            kept += len(boxes)
    assert kept > 20


def test_the_same_random_numbers_give_the_same_example(coco_data):
    sample = open_dataset(f"coco:{coco_data}", "val")[0]
    runs = [augment(sample, RGB, EVERYTHING, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1]["masks"], runs[1][1]["masks"])
    assert not torch.equal(runs[0][0], runs[2][0])
