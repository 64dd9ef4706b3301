"""Batches: reproducible, resumable, with errors that say what is wrong."""

import multiprocessing
import os
import signal
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from detector.config import AugmentConfig, Config, InputConfig, TrainConfig
from detector.data import DataError, open_dataset
from detector.data.loader import evaluation_images, training_batches
from detector.data.transforms import prepare

CONFIG = Config(
    input=InputConfig(short_edge=(40, 48), max_edge=100),
    augment=AugmentConfig(scale_jitter=1.3, crop=32, rotate90=True, noise=0.05),
    train=TrainConfig(batch_size=2),
)


def batches(dataset, count, config=CONFIG, **options):
    return list(islice(training_batches(dataset, config, 7, **options), count))


def assert_equal(one, other):
    assert len(one) == len(other)
    for (images, targets), (other_images, other_targets) in zip(one, other, strict=True):
        assert len(images) == len(other_images)
        for a, b in zip(images, other_images, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(targets, other_targets, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a)


def ids(batches):
    return [int(target["image_id"]) for _, targets in batches for target in targets]


@pytest.fixture
def photographs(coco_data):
    return open_dataset(f"coco:{coco_data}", "train")


def test_a_batch_has_what_the_network_takes(photographs):
    ((images, targets),) = batches(photographs, 1)
    assert len(images) == len(targets) == 2
    for image, target in zip(images, targets, strict=True):
        assert image.shape == (3, 32, 32)
        assert image.dtype == torch.float32
        assert set(target) == {"boxes", "labels", "masks", "image_id"}
        assert target["masks"].shape == (len(target["boxes"]), 32, 32)


def test_the_number_of_workers_changes_nothing(photographs):
    assert_equal(batches(photographs, 5), batches(photographs, 5, num_workers=2))


def test_resuming_gives_the_batches_that_would_have_come(photographs):
    whole = batches(photographs, 7)
    assert_equal(whole[4:], batches(photographs, 3, start_iteration=4))
    assert_equal(whole[4:], batches(photographs, 3, start_iteration=4, num_workers=1))


def test_the_seed_changes_order_and_changes(photographs):
    one = list(islice(training_batches(photographs, CONFIG, 1), 6))
    two = list(islice(training_batches(photographs, CONFIG, 2), 6))
    assert ids(one) != ids(two)
    assert ids(one) == ids(list(islice(training_batches(photographs, CONFIG, 1), 6)))


def test_every_image_is_seen_once_before_any_is_seen_again(make_dataset):
    dataset = make_dataset(count=5)
    seen = ids(batches(dataset, 10))
    rounds = [seen[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(part) == [1, 2, 3, 4, 5] for part in rounds)
    assert len({tuple(part) for part in rounds}) > 1


def test_an_image_is_changed_anew_each_time(make_dataset):
    dataset = make_dataset()
    ((first, _), (second, _)) = batches(dataset, 2)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])


def test_processes_share_out_the_batch(make_dataset):
    dataset = make_dataset(count=6)
    config = replace(CONFIG, train=TrainConfig(batch_size=4))
    whole = batches(dataset, 3, config)
    parts = [batches(dataset, 3, config, rank=rank, world_size=2) for rank in range(2)]
    joined = [
        (images + more, targets + extra)
        for (images, targets), (more, extra) in zip(*parts, strict=True)
    ]
    assert_equal(whole, joined)


def test_a_batch_that_cannot_be_shared_out(make_dataset):
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes; got 2"):
        batches(make_dataset(), 1, world_size=3)


def test_a_data_set_without_images(make_dataset):
    with pytest.raises(ValueError, match="has no images"):
        batches(make_dataset([], images=[]), 1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_image_is_named_without_a_traceback(num_workers, make_dataset):
    dataset = make_dataset(count=3)
    (dataset.image_dir / "002.png").write_text("not an image")
    with pytest.raises(DataError) as error:
        batches(dataset, 3, num_workers=num_workers)
    assert "002.png: cannot read the image" in str(error.value)
    assert "image id 2" in str(error.value)
    assert "Traceback" not in str(error.value)
    with pytest.raises(DataError, match=r"002\.png"):
        list(evaluation_images(dataset, CONFIG, num_workers))


def test_a_bad_annotation_is_named_without_a_traceback(make_dataset, square):
    dataset = make_dataset([square | {"bbox": [1, 2]}])
    with pytest.raises(DataError, match=r"annotation id 11.*bbox must be four numbers"):
        batches(dataset, 1, num_workers=1)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_global_random_numbers_are_left_alone(num_workers, make_dataset):
    torch.manual_seed(0)
    np.random.seed(0)
    batches(make_dataset(), 2, num_workers=num_workers)
    after = torch.rand(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    assert torch.equal(after[0], torch.rand(3))
    np.testing.assert_array_equal(after[1], np.random.rand(3))


def test_ctrl_c_does_not_stop_the_workers(photographs):
    endless = training_batches(photographs, CONFIG, 0, num_workers=2)
    next(endless)
    workers = multiprocessing.active_children()
    assert len(workers) >= 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
    for _ in range(6):  # more than are prefetched
        next(endless)
    endless.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_for_evaluation_come_unchanged_and_in_order(num_workers, photographs):
    found = list(evaluation_images(photographs, CONFIG, num_workers))
    assert [image_id for _, _, image_id in found] == [i["id"] for i in photographs.images]
    for (image, size, _), record in zip(found, photographs.images, strict=True):
        assert size == (record["height"], record["width"])
        assert torch.equal(image, prepare(photographs.read(record), CONFIG.input))
