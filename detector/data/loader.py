"""Batches for training and images for evaluation, read by worker processes.

Which image stands at a position of a batch, and how it is changed, follows from the seed, the
iteration and the position alone. So the number of workers changes nothing, and training resumes at
any iteration with the batches it would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector.config import Config
from detector.data.coco import CocoDataset
from detector.data.errors import DataError
from detector.data.transforms import augment, prepare

ORDER, CHANGES = 0, 1
"""Streams of random numbers under one seed: the order of the images, and their changes."""


def training_batches(
    dataset: CocoDataset,
    config: Config,
    seed: int,
    start_iteration: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Yields the batches of iteration `start_iteration` and of all that follow, without end.

    Of each batch of `config.train.batch_size` images a process gets its share, that of `rank` of
    `world_size`. Every image is seen once before any is seen again. Images and targets: see
    `transforms.augment`.

    Raises: ValueError when the batch cannot be shared out or the data set is empty; DataError,
    with file and ids, when an image or annotation cannot be read.
    """
    batch_size = config.train.batch_size
    if batch_size % world_size:
        raise ValueError(
            f"training_batches: batch_size must be a multiple of the {world_size} processes; "
            f"got {batch_size}"
        )
    if not len(dataset):
        raise ValueError(f"training_batches: {dataset.annotation_file} has no images")
    share = batch_size // world_size
    batches = DataLoader(
        _TrainingExamples(dataset, config, seed),
        batch_sampler=_Positions(start_iteration, batch_size, rank * share, share),
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=_ignore_interrupts,
        # Workers take nothing from torch's global generator; this keeps the parent's untouched.
        generator=torch.Generator().manual_seed(seed),
    )
    for examples in batches:
        loaded = [_raise_errors(example) for example in examples]
        yield [image for image, _ in loaded], [targets for _, targets in loaded]


def evaluation_images(
    dataset: CocoDataset, config: Config, num_workers: int = 0
) -> Iterator[tuple[Tensor, tuple[int, int], int]]:
    """Yields (input of the network (C, H', W'), (height, width) of the image, image id), in order.

    Raises: DataError, with file and id, when an image cannot be read.
    """
    images = DataLoader(
        _EvaluationImages(dataset, config),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator().manual_seed(0),
    )
    for image in images:
        yield _raise_errors(image)


class _Positions:
    """Endless batches of (iteration, position in the whole batch)."""

    def __init__(self, start_iteration: int, batch_size: int, first: int, count: int) -> None:
        self.start_iteration = start_iteration
        self.positions = range(first, first + count)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        iteration = self.start_iteration
        while True:
            number = iteration * self.batch_size
            yield [(iteration, position, number + position) for position in self.positions]
            iteration += 1


class _TrainingExamples(Dataset[Any]):
    def __init__(self, dataset: CocoDataset, config: Config, seed: int) -> None:
        self.dataset = dataset
        self.config = config
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __getitem__(self, key: tuple[int, int, int]) -> Any:
        iteration, position, number = key
        rng = np.random.default_rng([CHANGES, self.seed, iteration, position])
        try:
            sample = self.dataset[self._index(number)]
        except DataError as error:
            return error
        return augment(sample, self.config.input, self.config.augment, rng)

    def _index(self, number: int) -> int:
        """The image that is the `number`-th of the whole training."""
        epoch, place = divmod(number, len(self.dataset))
        if epoch != self._epoch:
            rng = np.random.default_rng([ORDER, self.seed, epoch])
            self._epoch, self._order = epoch, rng.permutation(len(self.dataset))
        return int(self._order[place])


class _EvaluationImages(Dataset[Any]):
    def __init__(self, dataset: CocoDataset, config: Config) -> None:
        self.dataset = dataset
        self.config = config

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        record = self.dataset.images[index]
        try:
            image = self.dataset.read(record)
        except DataError as error:
            return error
        return prepare(image, self.config.input), image.shape[:2], record["id"]


def _as_it_is(loaded: Any) -> Any:
    """Instead of torch's default, which makes lists of tuples."""
    return loaded


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the training process decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raise_errors(loaded: Any) -> Any:
    """Raises an error that a worker handed over.

    It travels as a value: raised in the worker, it would arrive wrapped in the text of a traceback.
    """
    if isinstance(loaded, DataError):
        raise loaded
    return loaded
